//! Reading of repositories for an evaluation, against responses in Gitea's format.

use axum::response::Response;
use serde_json::{Value, json};
use tinqs_ci_gitea::client::Changes;
use tinqs_ci_reconciler::ports::ErrorKind;

use crate::script::{IntoAnswer, RecordedRequest, Script, html, json_answer, not_found, version};

const REPO: &str = "acme/widget";
const OLD: &str = "1111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222";
const FOLDERS: [&str; 2] = [".gitea/workflows", ".github/workflows"];

fn entry(path: &str, kind: &str, sha: &str) -> Value {
    let mode = if kind == "tree" { "040000" } else { "100644" };
    json!({"path": path, "mode": mode, "type": kind, "size": 12, "sha": sha, "url": "https://x"})
}

/// Returns a response of `GET …/git/trees/{sha}`.
fn tree(entries: &[Value], truncated: bool) -> Response {
    let tree = json!({
        "sha": NEW, "url": "https://x", "tree": entries, "truncated": truncated, "page": 1,
        "total_count": entries.len(),
    });
    json_answer(200, tree)
}

/// Returns a response of `file-contents` and `git/blobs`.
fn file(path: &str, sha: &str, text: &str) -> Value {
    use base64::Engine as _;
    let content = base64::engine::general_purpose::STANDARD.encode(text);
    json!({
        "name": path.rsplit('/').next(), "path": path, "sha": sha, "type": "file",
        "size": text.len(), "encoding": "base64", "content": content, "target": null, "url": "https://x",
    })
}

/// Returns the part of the path after the repository's name.
fn rest(asked: &RecordedRequest) -> &str {
    asked.path.strip_prefix("/api/v1/repos/acme/widget").unwrap_or(&asked.path)
}

/// A repository with one workflow file and another file, changed by the last commit.
fn small(asked: &RecordedRequest) -> Option<Response> {
    let workflows = [
        entry(".gitea", "tree", "f0"),
        entry(".gitea/workflows", "tree", "f1"),
        entry(".gitea/workflows/ci.yml", "blob", "b1"),
        entry(".gitea/workflows/notes.txt", "blob", "b2"),
        entry("src", "tree", "f2"),
    ];
    let with = |sha: &str| {
        let mut all = workflows.to_vec();
        all.push(entry("src/a", "blob", sha));
        tree(&all, false)
    };
    Some(match rest(asked) {
        path if path.starts_with(&format!("/git/trees/{NEW}?recursive=true")) => with("n"),
        path if path.starts_with(&format!("/git/trees/{OLD}?recursive=true")) => with("o"),
        "/git/blobs/b1" => json_answer(200, file("", "b1", "on: push\n")),
        "/api/v1/version" => version().into_answer()?,
        _ => not_found().into_answer()?,
    })
}

#[tokio::test]
async fn a_first_push_takes_three_calls_and_a_repeat_takes_none() {
    let script = Script::new(small).await;
    let client = script.client();
    for calls in [3, 0] {
        let found = client.workflow_files(REPO, NEW, &FOLDERS).await.expect("read").expect("there");
        assert_eq!(found.there, [".gitea/workflows"]);
        let texts: Vec<_> = found.files.iter().map(|f| (f.path.as_str(), f.text.clone())).collect();
        let text = Ok(std::sync::Arc::new(b"on: push\n".to_vec()));
        assert_eq!(texts, [(".gitea/workflows/ci.yml", text)]);
        let changed = client.changed_files(REPO, OLD, NEW).await.expect("read");
        assert_eq!(changed, Changes::All(vec!["src/a".to_owned()]));
        let paths = script.take_paths();
        assert_eq!(paths.len(), calls, "{paths:?}");
    }
}

#[tokio::test]
async fn several_files_are_read_in_one_call_if_supported() {
    let names = ["a.yml", "b.yaml", "sub/c.yml"].map(|name| format!(".gitea/workflows/{name}"));
    let in_tree = names.clone();
    let listed = move |asked: &RecordedRequest| {
        let entries: Vec<Value> = in_tree.iter().map(|n| entry(n, "blob", n)).collect();
        let texts = in_tree.iter().map(|n| file(n, n, n)).collect::<Vec<_>>();
        Some(match rest(asked) {
            path if path.starts_with("/git/trees/") => tree(&entries, false),
            // One file is null, as for a file that is too large for the server.
            path if path.starts_with("/file-contents?ref=") => {
                json_answer(200, json!([texts[0], null, texts[2]]))
            }
            path if path.starts_with("/git/blobs/") => json_answer(200, texts[1].clone()),
            _ => not_found().into_answer()?,
        })
    };
    let script = Script::new(listed).await;
    let client = script.client();
    let found = client.workflow_files(REPO, NEW, &FOLDERS).await.expect("read").expect("there");
    let read: Vec<String> = found
        .files
        .iter()
        .map(|f| String::from_utf8(f.text.clone().expect("read").to_vec()).expect("text"))
        .collect();
    assert_eq!(read, names);
    let paths = script.take_paths();
    assert_eq!(paths.len(), 3, "{paths:?}");
    assert!(
        paths[1].contains("body=%7B%22files%22%3A%5B%22.gitea%2Fworkflows%2Fa.yml%22"),
        "{paths:?}"
    );
}

#[tokio::test]
async fn an_older_server_returns_files_one_by_one() {
    let names = ["a.yml", "b.yml"].map(|name| format!(".github/workflows/{name}"));
    let older = move |asked: &RecordedRequest| {
        Some(match rest(asked) {
            path if path.starts_with("/git/trees/") => {
                let sha = if path.contains(OLD) { "old" } else { "new" };
                let of = |name: &String| entry(name, "blob", &format!("{sha}-{}", name.len()));
                tree(
                    &names.iter().map(of).chain([entry("x", "blob", "x")]).collect::<Vec<_>>(),
                    false,
                )
            }
            path if path.starts_with("/git/blobs/") => json_answer(200, file("", "", "on: push")),
            "/api/v1/version" => version().into_answer()?,
            _ => not_found().into_answer()?,
        })
    };
    let script = Script::new(older).await;
    let client = script.client();
    let found = client.workflow_files(REPO, NEW, &FOLDERS).await.expect("read").expect("there");
    assert_eq!((found.files.len(), found.there), (2, vec![".github/workflows".to_owned()]));
    let asked = |paths: &[String]| paths.iter().filter(|p| p.contains("file-contents")).count();
    assert_eq!(asked(&script.take_paths()), 1);
    client.workflow_files(REPO, OLD, &FOLDERS).await.expect("read");
    assert_eq!(asked(&script.take_paths()), 0, "an unsupported call is made once");
}

#[tokio::test]
async fn a_large_tree_is_read_up_to_its_workflows() {
    let large = |asked: &RecordedRequest| {
        Some(match rest(asked) {
            path if path.starts_with("/git/trees/") => match asked.number("page") {
                1 => tree(&[entry(".a", "blob", "1"), entry(".gitea/x", "blob", "2")], true),
                2 => tree(
                    &[entry(".gitea/workflows/ci.yml", "blob", "3"), entry("a", "blob", "4")],
                    true,
                ),
                _ => json_answer(500, json!({"message": "unexpected page"})),
            },
            path if path.starts_with("/git/blobs/3") => json_answer(200, file("", "3", "on: push")),
            _ => not_found().into_answer()?,
        })
    };
    let script = Script::new(large).await;
    let found = script.client().workflow_files(REPO, NEW, &FOLDERS).await.expect("read");
    assert_eq!(found.expect("there").files.len(), 1);
    assert_eq!(script.take_paths().len(), 3);
}

#[tokio::test]
async fn large_trees_are_compared_by_changed_folders() {
    let large = |asked: &RecordedRequest| {
        let path = rest(asked);
        let all = |sha: &str| {
            [entry("same", "tree", "s"), entry("deep", "tree", sha), entry("z", "blob", "z")]
        };
        Some(match path {
            path if path.contains("recursive") => tree(&[entry("a", "blob", "1")], true),
            path if path.contains(OLD) => tree(&all("d1"), false),
            path if path.contains(NEW) => tree(&all("d2"), false),
            path if path.starts_with("/git/trees/d1?") => {
                tree(&[entry("gone", "tree", "g")], false)
            }
            path if path.starts_with("/git/trees/d2?") => tree(&[entry("new", "blob", "n")], false),
            path if path.starts_with("/git/trees/g?") => tree(&[entry("x", "blob", "x")], false),
            // The unchanged folder is never read.
            _ => json_answer(500, json!({"message": path})),
        })
    };
    let script = Script::new(large).await;
    let changed = script.client().changed_files(REPO, OLD, NEW).await.expect("compared");
    let files = ["deep/gone/x", "deep/new"].map(str::to_owned).to_vec();
    assert_eq!(changed, Changes::All(files));
}

#[tokio::test]
async fn a_missing_commit_is_distinguished_from_a_proxys_page() {
    let script = Script::new(|asked: &RecordedRequest| {
        if rest(asked).contains(OLD) { not_found().into_answer() } else { small(asked) }
    })
    .await;
    let client = script.client();
    assert_eq!(client.workflow_files(REPO, OLD, &FOLDERS).await.expect("read"), None);
    let changed = client.changed_files(REPO, OLD, NEW).await.expect("read");
    assert!(matches!(&changed, Changes::Unknown(why) if why.contains(OLD)), "{changed:?}");
    assert_eq!(client.commit(REPO, OLD).await.expect("read"), None);
    let proxy = Script::new(|_: &RecordedRequest| Some(html(404))).await;
    let error = proxy.client().workflow_files(REPO, NEW, &FOLDERS).await.expect_err("no forge");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let error = client.workflow_files("no-slash", NEW, &FOLDERS).await.expect_err("no name");
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn too_many_or_too_large_files_are_refused_with_a_reason() {
    let many = Script::new(|_: &RecordedRequest| {
        let of = |n| entry(&format!(".gitea/workflows/{n:03}.yml"), "blob", "1");
        Some(tree(&(0..300).map(of).collect::<Vec<_>>(), false))
    })
    .await;
    let error = many.client().workflow_files(REPO, NEW, &FOLDERS).await.expect_err("too many");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("more than 256 workflow files"), "{error}");
    let large = Script::new(|_: &RecordedRequest| {
        let mut big = entry(".gitea/workflows/big.yml", "blob", "1");
        big["size"] = (2 * 1024 * 1024).into();
        Some(tree(&[big], false))
    })
    .await;
    let found = large.client().workflow_files(REPO, NEW, &FOLDERS).await.expect("read");
    let why = found.expect("there").files[0].text.clone().expect_err("too large");
    assert!(why.contains("larger than 1048576 bytes"), "{why}");
    assert_eq!(large.take_paths().len(), 1);
}

#[tokio::test]
async fn commits_branches_rights_and_variables_are_read() {
    let script = Script::new(|asked: &RecordedRequest| {
        let var = |name: &str, data: &str| {
            json!({"owner_id": 1, "repo_id": 0, "name": name, "data": data, "description": ""})
        };
        let branch = |name: &str| json!({"name": name, "commit": {"id": NEW, "message": "m"}});
        Some(match rest(asked) {
            path if path.starts_with(&format!("/git/commits/{NEW}?stat=false")) => json_answer(
                200,
                json!({
                    "sha": NEW, "parents": [{"sha": OLD, "url": "https://x"}],
                    "commit": {"message": "fix: it\n\n[skip ci]\n", "tree": {"sha": "t"}},
                    "files": [{"filename": "a/b", "status": "modified"}], "stats": null,
                }),
            ),
            "/branches/feature%2Fx" => json_answer(200, branch("feature/x")),
            "/branches?limit=50" => json_answer(200, json!([branch("a"), branch("main")])),
            "/collaborators/alice/permission" => {
                json_answer(200, json!({"permission": "write", "role_name": "write", "user": null}))
            }
            "/api/v1/orgs/acme/actions/variables?limit=50" => {
                json_answer(200, json!([var("A", "owner"), var("B", "owner")]))
            }
            "/actions/variables?limit=50" => json_answer(200, json!([var("A", "repository")])),
            "" => json_answer(
                200,
                json!({"id": 7, "full_name": REPO, "default_branch": "main", "private": true}),
            ),
            "/api/v1/version" => version().into_answer()?,
            _ => not_found().into_answer()?,
        })
    })
    .await;
    let client = script.client();
    let commit = client.commit(REPO, NEW).await.expect("read").expect("there");
    assert_eq!((commit.parents, commit.files), (vec![OLD.to_owned()], vec!["a/b".to_owned()]));
    assert!(commit.message.contains("[skip ci]"));
    assert_eq!(client.tip(REPO, "feature/x").await.expect("read").as_deref(), Some(NEW));
    assert_eq!(client.tip(REPO, "gone").await.expect("read"), None);
    let at = client.branch_at(REPO, NEW, "main").await.expect("read");
    assert_eq!(at.as_deref(), Some("main"), "the default branch is preferred");
    assert_eq!(client.branch_at(REPO, OLD, "main").await.expect("read"), None);
    assert!(client.can_write(REPO, "alice").await.expect("read"));
    assert!(!client.can_write(REPO, "mallory").await.expect("read"));
    let variables: Vec<_> = client.variables(REPO).await.expect("read").into_iter().collect();
    let pair = |name: &str, data: &str| (name.to_owned(), data.to_owned());
    assert_eq!(variables, [pair("A", "repository"), pair("B", "owner")]);
    let about = client.about(REPO).await.expect("read").expect("there");
    assert_eq!((about.id, about.default_branch.as_str()), (7, "main"));
}

#[tokio::test]
async fn disabled_workflows_and_merged_pull_requests_are_read_if_permitted() {
    const LIST: &str = "/actions/workflows";
    let workflow = |id: &str, state: &str| json!({"id": id, "name": "CI", "state": state});
    let script = Script::new(move |asked: &RecordedRequest| {
        Some(match rest(asked) {
            LIST => json_answer(
                200,
                json!({
                    "workflows": [
                        workflow("ci.yml", "active"),
                        workflow("sub/old.yml", "disabled_manually"),
                        workflow("idle.yml", "disabled_inactivity"),
                    ],
                    "total_count": 3,
                }),
            ),
            path if path.starts_with("/pulls?") && path.contains("poster=a%20b&") => {
                json_answer(200, json!([{"merged": false}, {"merged": true}, {"merged": null}]))
            }
            path if path.starts_with("/pulls?") => json_answer(200, json!([{"merged": false}])),
            _ => not_found().into_answer()?,
        })
    })
    .await;
    let client = script.client();
    let disabled = client.disabled_workflows(REPO, &["ci.yml"]).await.expect("read");
    assert_eq!(*disabled, ["sub/old.yml", "idle.yml"]);
    assert_eq!(client.disabled_workflows(REPO, &["ci.yml"]).await.expect("read"), disabled);
    assert_eq!(script.take_paths().len(), 1, "cached");
    client.disabled_workflows(REPO, &["ci.yml", "idle.yml"]).await.expect("read");
    assert_eq!(script.take_paths().len(), 1, "a disabled workflow is checked again");
    assert!(client.has_merged(REPO, "a b").await.expect("read"));
    assert!(!client.has_merged(REPO, "bob").await.expect("read"));

    let answers: [(u16, bool, Option<ErrorKind>); 6] = [
        (401, false, None),
        (403, false, None),
        (404, false, None),
        // The server fails for a repository without a default branch.
        (500, false, None),
        (502, true, Some(ErrorKind::Unavailable)),
        (503, false, Some(ErrorKind::Unavailable)),
    ];
    for (status, page, error) in answers {
        let script = Script::new(move |_: &RecordedRequest| {
            if page { html(status) } else { json_answer(status, json!({"message": "no"})) }
        })
        .await;
        let read = script.client().disabled_workflows(REPO, &["ci.yml"]).await;
        assert_eq!(read.as_ref().err().map(|error| error.kind), error, "{status}");
        assert!(read.is_err() || read.is_ok_and(|disabled| disabled.is_empty()), "{status}");
    }
    let script = Script::new(|_: &RecordedRequest| (403, json!({"message": "no"}))).await;
    assert!(!script.client().has_merged(REPO, "bob").await.expect("answers"));
}

#[tokio::test]
async fn a_tag_names_its_commit_also_if_it_is_annotated() {
    let script = Script::new(|asked| {
        Some(match rest(asked) {
            "/tags/v1%2F0" => json_answer(
                200,
                json!({"name": "v1/0", "id": OLD, "message": "", "commit": {"sha": NEW, "url": ""}}),
            ),
            "/api/v1/version" => version().into_answer()?,
            _ => not_found().into_answer()?,
        })
    })
    .await;
    let client = script.client();
    assert_eq!(client.tagged(REPO, "v1/0").await.expect("read").as_deref(), Some(NEW));
    assert_eq!(client.tagged(REPO, "v2").await.expect("read"), None);
}
