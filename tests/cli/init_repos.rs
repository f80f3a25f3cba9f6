//! `init`: which repositories the machines are for, and whether the token may register runners there.

use serde_json::json;
use tinqs_ci::settings;

use crate::init::{contents, gitea, init};
use crate::scripted::{Answer, Server};

/// A forge with the repository `acme/shop`; `may_register` says whether its owner's token may
/// register runners there.
fn forge(may_register: bool) -> Server {
    Server::new(move |asked, _| match asked.line.as_str() {
        "POST /api/v1/repos/acme/shop/actions/runners/registration-token" => {
            if may_register {
                Answer(200, None, json!({ "token": "registration-token" }))
            } else {
                let message = "token does not have at least one of required scope(s)";
                Answer(403, None, json!({ "message": message }))
            }
        }
        line if line.starts_with("GET /api/v1/orgs/acme/repos?") => {
            let shop = json!([{ "id": 4, "full_name": "acme/shop" }]);
            Answer(200, None, if line.ends_with("page=1") { shop } else { json!([]) })
        }
        _ => gitea(asked, false),
    })
}

#[test]
fn a_token_that_may_not_register_is_an_error_and_nothing_is_written() {
    for scope in ["repo:acme/shop", "org:acme"] {
        let more = ["--scope", scope, "--create-webhook"];
        let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(false));
        let said = init(folder.path(), &server, &more);
        assert_eq!(said.code, 1, "{scope}: {}", said.out);
        for part in ["the token cannot register runners", "write:repository", "forge.register_in"] {
            assert!(said.err.contains(part), "{scope}: {part}: {}", said.err);
        }
        assert_eq!(contents(folder.path()), []);
        let is_hook = |line: &String| line.starts_with("POST ") && line.ends_with("/hooks");
        assert!(!server.lines().iter().any(is_hook), "{:?}", server.lines());

        let server = forge(true);
        let said = init(folder.path(), &server, &more);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{scope}: {}", said.out);
    }
}

#[test]
fn the_patterns_of_repositories_are_written_and_compared_with_the_scope() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(true));
    let more = ["--scope", "org:acme", "--repos", "acme/shop, acme/infra-*"];
    let said = init(folder.path(), &server, &more);
    assert_eq!(said.code, 0, "{}", said.err);
    let warning = "--repos has \"acme/infra-*\", which no repository in `forge.scope` fits";
    assert!(said.err.contains(warning), "{}", said.err);
    assert!(!said.err.contains("\"acme/shop\""), "{}", said.err);
    let file = folder.path().join("tinqs-ci.toml");
    let text = std::fs::read_to_string(&file).expect("written");
    assert!(text.contains("\nrepos       = [\"acme/shop\", \"acme/infra-*\"]\n"), "{text}");
    let loaded = settings::load(Some(&file), &settings::Env::new());
    let loaded = loaded.expect("init writes what serve takes");
    assert_eq!(loaded.settings.classes[0].repos, ["acme/shop", "acme/infra-*"]);
}

#[test]
fn a_wrong_pattern_is_an_error_and_nothing_is_written() {
    let cases = [
        ("acme", "--repos: \"acme\" names no repository"),
        ("all,acme/shop", "--repos: \"all\" names no repository"),
        ("acme/[ab]", "--repos: \"acme/[ab]\" has a character"),
        ("acme/shop,ACME/Shop", "--repos: \"ACME/Shop\" is listed twice"),
    ];
    for (repos, problem) in cases {
        let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(true));
        let said = init(folder.path(), &server, &["--scope", "org:acme", "--repos", repos]);
        assert_eq!(said.code, 2, "{repos}: {}", said.out);
        assert!(said.err.contains(problem), "{repos}: {}", said.err);
        assert_eq!(contents(folder.path()), []);
    }
}
