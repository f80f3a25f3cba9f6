//! Triggers, notifications, changed files and paths: the corpus for all three release lines, and
//! properties that hold for all files.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tinqs_ci_workflow::changes::{self, Commit, Object, Tree};
use tinqs_ci_workflow::notify::{self, At, Context, Files, Nothing, Notification};
use tinqs_ci_workflow::on::{self, Entry};
use tinqs_ci_workflow::trigger::{self, Changed, Evaluation, Event, FilterReason, Verdict};
use tinqs_ci_workflow::{Dialect, files, yaml};

const DIALECTS: [(Dialect, &[&str]); 3] = [
    (Dialect::V1_27, &[""]),
    (Dialect::V1_26, &["_1_26", ""]),
    (Dialect::V1_25, &["_1_25", "_1_26", ""]),
];
const JOBS: &str = "jobs:\n  a:\n    runs-on: linux\n";

/// The expectation of a case for a release line.
fn expected<'c>(case: &'c Value, field: &str, suffixes: &[&str]) -> &'c Value {
    let mut named = suffixes.iter().map(|suffix| case.get(format!("{field}{suffix}")));
    named.find_map(|value| value).unwrap_or(&Value::Null)
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item.as_str().expect("a text").to_owned()).collect()
}

fn changed(case: &Value) -> Changed {
    match case["changed_files"].as_array() {
        Some(_) => Changed::Files(texts(&case["changed_files"])),
        None => Changed::Unknown("none given".to_owned()),
    }
}

fn matched(told: &Evaluation) -> Vec<&str> {
    told.matched().map(|judged| judged.entry.event.as_str()).collect()
}

#[test]
fn triggers_match_the_corpus() {
    let corpus: Value =
        serde_json::from_str(include_str!("../../../tests/corpus/triggers.json")).expect("JSON");
    let cases = corpus["cases"].as_array().expect("cases");
    let mut checked = 0;
    for case in cases.iter().filter(|case| case["level"] == "event") {
        for (dialect, suffixes) in DIALECTS {
            let event = Event {
                name: case["event"].as_str().expect("an event"),
                payload: &case["event_payload"],
                git_ref: case["ref"].as_str().unwrap_or_default(),
            };
            let text = case["workflow_yaml"].as_str().expect("a file").as_bytes();
            let told = trigger::evaluate_file(text, &event, &changed(case), dialect);
            let events = texts(expected(case, "expect_events", suffixes));
            let matches = expected(case, "expect_match", suffixes) == &json!(true);
            let wanted = if matches { events } else { Vec::new() };
            assert_eq!(matched(&told), wanted, "{} {dialect:?}", case["id"]);
            if let Some(invalid) = case.get("file_invalid") {
                let line = match dialect {
                    Dialect::V1_25 => "1.25",
                    Dialect::V1_26 => "1.26",
                    Dialect::V1_27 => "1.27",
                };
                assert_eq!(json!(told.invalid.is_some()), invalid[line], "{}", case["id"]);
            }
            checked += 1;
        }
    }
    assert!(checked > 400, "only {checked} checked");
}

#[test]
fn workflow_paths_match_the_corpus() {
    let corpus: Value =
        serde_json::from_str(include_str!("../../../tests/corpus/triggers.json")).expect("JSON");
    let cases = corpus["is_workflow_path"].as_array().expect("cases");
    assert!(cases.len() >= 8, "only {}", cases.len());
    for case in cases {
        let path = case["path"].as_str().expect("a path");
        let got = files::is_workflow(&texts(&case["workflow_dirs"]), path);
        assert_eq!(json!(got), case["expect"], "{case}");
    }
}

#[test]
fn changed_files_match_the_corpus() {
    let corpus: Value =
        serde_json::from_str(include_str!("../../../tests/corpus/changed_files.json"))
            .expect("JSON");
    let cases = corpus["cases"].as_array().expect("cases");
    assert!(cases.len() > 10, "only {}", cases.len());
    for case in cases {
        let mut commits = BTreeMap::new();
        for commit in case["commits"].as_array().expect("commits") {
            let tree = commit["tree"].as_object().expect("a tree").iter().map(|(path, object)| {
                let mode = object["mode"].as_str().unwrap_or("100644").to_owned();
                let content = [&object["sha"], &object["data"], object];
                let id = content.iter().find(|id| id.is_string()).expect("some content");
                (path.clone(), Object { mode, id: id.to_string() })
            });
            let name = commit["name"].as_str().expect("a name").to_owned();
            let commit = Commit { parents: texts(&commit["parents"]), tree: tree.collect() };
            commits.insert(name, commit);
        }
        let before = match case["before"].as_str().expect("a commit") {
            "zeros" => "0".repeat(40),
            name => name.to_owned(),
        };
        let got = changes::between(&commits, &before, case["tip"].as_str().expect("a commit"));
        if case.get("expect_error").is_some() {
            assert!(got.is_err(), "{}", case["id"]);
        } else {
            let mut wanted = texts(&case["expect_files"]);
            wanted.sort();
            assert_eq!(got, Ok(wanted), "{}", case["id"]);
        }
    }
}

#[test]
fn a_new_branch_on_a_merge_changes_nothing_and_a_first_commit_everything() {
    let object = |id: &str| Object { mode: "100644".to_owned(), id: id.to_owned() };
    let tree = |names: &[&str]| -> Tree {
        names.iter().map(|name| ((*name).to_owned(), object(name))).collect()
    };
    let commit = |parents: &[&str], names: &[&str]| Commit {
        parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
        tree: tree(names),
    };
    let commits = BTreeMap::from([
        ("first".to_owned(), commit(&[], &["a", "b"])),
        ("side".to_owned(), commit(&[], &["c"])),
        ("merge".to_owned(), commit(&["first", "side"], &["a", "b", "c"])),
        ("shallow".to_owned(), commit(&["gone"], &["a"])),
    ]);
    for zeros in ["0".repeat(40), "0".repeat(64)] {
        let new = |tip| changes::between(&commits, &zeros, tip);
        assert_eq!(new("first"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(new("merge"), Ok(vec![]));
        assert!(new("shallow").is_err() && new("nowhere").is_err());
    }
    // Pushed onto an old tip, a merge is a plain difference.
    assert_eq!(changes::between(&commits, "first", "merge"), Ok(vec!["c".to_owned()]));
    assert!(!changes::is_zero("") && !changes::is_zero("000"));
}

/// Files with the events that the forge's own code reads.
#[test]
fn the_forge_sees_the_same_events() {
    let cases: Value = serde_json::from_str(include_str!("forge/on.json")).expect("JSON");
    let cases = cases.as_array().expect("cases");
    assert!(cases.len() > 170, "only {}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let text = case["yaml"].as_str().expect("a file");
        let seen = yaml::parse(text.as_bytes()).ok();
        let seen = seen.and_then(|workflow| trigger::entries(&workflow, Dialect::V1_27).ok());
        let seen = seen.map_or(Value::Null, |entries| entries.iter().map(told).collect());
        if seen != case["events"] {
            wrong.push(format!("{text:?}\n  forge {}\n  here  {seen}", case["events"]));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// `[event, {filter: patterns}, schedule]`, as in the cases.
fn told(entry: &Entry) -> Value {
    let filters: serde_json::Map<_, _> =
        entry.filters.iter().map(|filter| (filter.key.clone(), json!(filter.patterns))).collect();
    let schedule = entry.schedule.as_ref().map(|items| -> Value {
        let item = |item: &Vec<(String, String)>| -> Value {
            item.iter().map(|(key, value)| (key.clone(), json!(value))).collect()
        };
        items.iter().map(item).collect()
    });
    json!([entry.event, filters, schedule])
}

#[test]
fn release_lines_differ_on_whole_files() {
    let invalid = |text: &str, dialect| {
        let workflow = yaml::parse(text.as_bytes()).expect("YAML");
        trigger::entries(&workflow, dialect).is_err()
    };
    let differ = [
        "on: push\n".to_owned(),
        "on: push\njobs:\n  a:\n".to_owned(),
        "on: push\njobs: []\n".replace("[]", "{a: ~}"),
        format!("on: push\nrun-name: [a]\n{JOBS}"),
        format!("on: push\n{JOBS}    concurrency: [a]\n"),
        format!("on: push\n{JOBS}    steps: [{{continue-on-error: '${{{{ a }}}}'}}]\n"),
    ];
    for text in &differ {
        assert!(!invalid(text, Dialect::V1_25), "{text}");
        assert!(invalid(text, Dialect::V1_26) && invalid(text, Dialect::V1_27), "{text}");
    }
    let call =
        format!("on: {{workflow_call: {{inputs: {{a: {{type: string}}}}}}, push: }}\n{JOBS}");
    assert!(invalid(&call, Dialect::V1_25));
    assert!(!invalid(&call, Dialect::V1_26) && !invalid(&call, Dialect::V1_27));
}

fn push(git_ref: &str) -> Value {
    json!({ "ref": git_ref, "before": "a".repeat(40), "after": "b".repeat(40) })
}

fn evaluate(text: &str, event: &str, payload: &Value, changed: &[&str]) -> Evaluation {
    let changed = Changed::Files(changed.iter().map(|path| (*path).to_owned()).collect());
    let event = Event { name: event, payload, git_ref: "" };
    trigger::evaluate_file(format!("{text}\n{JOBS}").as_bytes(), &event, &changed, Dialect::V1_27)
}

#[test]
fn every_filter_reports_its_reason() {
    let payload = push("refs/heads/dev");
    let filter = "on: {push: {branches: [main, '!dev', '*'], paths: ['src/**', '!src/x'], \
                  paths-ignore: ['docs/**'], tags: [v*], types: [a], branches-ignore: ['[']}}";
    let told = evaluate(filter, "push", &payload, &["docs/a", "src/a", "src/x"]);
    let judged = &told.entries[0];
    assert_eq!(judged.verdict, Verdict::FilteredOut);
    let why: Vec<String> = judged.filters.iter().map(|filter| filter.why.to_string()).collect();
    assert_eq!(
        why[..5],
        [
            "`dev` is included by `*`",
            "`src/a` is included by `src/**`",
            "`src/a` is not ignored",
            "a ref of another kind was pushed",
            "the event does not support this filter",
        ]
    );
    assert!(matches!(judged.filters[5].why, FilterReason::NoPattern(_)), "{:?}", judged.filters[5]);
    let satisfied: Vec<bool> = judged.filters.iter().map(|filter| filter.satisfied).collect();
    assert_eq!(satisfied, [true, true, true, false, false, false]);

    let told = evaluate("on: {push: {paths: ['src/**']}}", "push", &payload, &[]);
    assert_eq!(told.entries[0].filters[0].why, FilterReason::NothingChanged);
    let told = evaluate("on: {push: {paths-ignore: ['**']}}", "push", &payload, &["a", "b"]);
    assert_eq!(told.entries[0].filters[0].why.to_string(), "all of 2 are ignored: `a` by `**`");
    let told = evaluate("on: {push: {branches: [main, '!dev']}}", "push", &payload, &[]);
    assert_eq!(told.entries[0].filters[0].why.to_string(), "`dev` is excluded by `!dev`");
    let told = evaluate("on: [pull_request, schedule]", "push", &payload, &[]);
    assert_eq!(told.entries[0].verdict, Verdict::OtherEvent);
    let told = evaluate("on: {push: [main]}", "push", &payload, &[]);
    assert_eq!(told.entries[0].verdict, Verdict::Scheduled);
}

/// `branches` and `tags` together mean "or"; with a second key on either side, nothing matches.
#[test]
fn filters_of_refs_are_counted() {
    let count = |filters: &str, git_ref: &str| {
        let told =
            evaluate(&format!("on: {{push: {{{filters}}}}}"), "push", &push(git_ref), &["a"]);
        matched(&told).len()
    };
    let cases = [
        ("branches: ['**'], tags: ['**']", 1, 1),
        ("branches: ['**'], tags: ['**'], paths: [a]", 1, 1),
        ("branches: ['**'], tags: ['**'], paths: [b]", 0, 1),
        ("branches: ['**'], branches-ignore: [x]", 1, 0),
        ("branches: ['**'], branches-ignore: [x], tags: ['**']", 1, 0),
        ("tags: ['**'], tags-ignore: [x], branches: ['**']", 0, 1),
        ("branches: ['**'], branches-ignore: [x], tags: ['**'], tags-ignore: [x]", 0, 0),
        ("paths: [a]", 1, 1),
        ("paths: [b]", 0, 1),
        ("branches-ignore: [x]", 1, 0),
        ("tags-ignore: [x]", 0, 1),
    ];
    for (filters, branch, tag) in cases {
        assert_eq!(count(filters, "refs/heads/m"), branch, "{filters}, a branch");
        assert_eq!(count(filters, "refs/tags/v"), tag, "{filters}, a tag");
        // Neither kind: only filters of paths can be satisfied.
        let neither = usize::from(filters == "paths: [a]");
        assert_eq!(count(filters, "refs/pull/1/head"), neither, "{filters}, neither");
    }
}

#[test]
fn activities_have_githubs_names() {
    let pull =
        |action: &str| json!({ "action": action, "pull_request": { "base": { "ref": "m" } } });
    let with = |event: &str, on: &str, types: &str, payload: &Value| {
        !matched(&evaluate(&format!("on: {{{on}: {{types: {types}}}}}"), event, payload, &[]))
            .is_empty()
    };
    for (action, name) in [
        ("synchronized", "synchronize"),
        ("label_updated", "labeled"),
        ("label_cleared", "unlabeled"),
        ("closed", "closed"),
    ] {
        for on in ["pull_request", "pull_request_target"] {
            assert!(with("pull_request", on, &format!("[{name}]"), &pull(action)), "{action}");
            assert!(!with("pull_request", on, "[]", &pull(action)), "no types match nothing");
            assert!(with("pull_request", on, &format!("['{{{name},x}}']"), &pull(action)));
        }
    }
    assert!(!with("pull_request", "pull_request", "[synchronized]", &pull("synchronized")));
    for event in ["pull_request_review_approved", "pull_request_review_rejected"] {
        assert!(with(event, "pull_request_review", "[submitted]", &pull("reviewed")));
        assert!(!with(event, "pull_request_review", "[created]", &pull("reviewed")));
        assert!(!with(event, "pull_request_review", "['*']", &pull("other")));
    }
    assert!(with("release", "release", "edited", &pull("updated")));
    assert!(with("package", "registry_package", "[published]", &pull("created")));
    assert!(with("package", "package", "[deleted]", &pull("deleted")));
    // A label was added or removed: the webhook of older servers does not tell which.
    let issue = |changes: Value| json!({ "action": "label_updated", "changes": changes });
    let added = issue(json!({ "added_labels": [{}], "removed_labels": null }));
    assert!(with("issue_label", "issues", "[labeled]", &added));
    assert!(!with("issue_label", "issues", "[unlabeled]", &added));
    assert!(!with("issue_label", "issues", "['*']", &issue(Value::Null)));
}

/// The server panics on such a pattern and recovers, dropping the event.
#[test]
fn an_invalid_pattern_of_types_drops_the_event() {
    let files = Files::from([
        (".gitea/workflows/a.yml".to_owned(), format!("on: issues\n{JOBS}")),
        (".gitea/workflows/b.yml".to_owned(), format!("on: {{issues: {{types: ['[']}}}}\n{JOBS}")),
    ]);
    let payload = json!({ "action": "opened" });
    let changed = Changed::Files(vec![]);
    let event = Event { name: "issues", payload: &payload, git_ref: "" };
    let what = Notification { event, files: &files, base_files: &files, changed: &changed };
    let told = notify::notify(&what, &Context::default(), Dialect::V1_27);
    assert_eq!(told.nothing, Some(Nothing::GivenUp("b.yml".to_owned())));
    assert!(told.runs.is_empty());
}

fn runs(
    event: &str,
    payload: &Value,
    files: &Files,
    context: &Context,
    dialect: Dialect,
) -> Vec<(String, String, String)> {
    let changed = Changed::Unknown("not asked".to_owned());
    let event = Event { name: event, payload, git_ref: "" };
    let what = Notification { event, files, base_files: files, changed: &changed };
    let told = notify::notify(&what, context, dialect);
    told.runs.into_iter().map(|run| (run.workflow, run.event, run.git_ref)).collect()
}

fn one(on: &str) -> Files {
    Files::from([(".gitea/workflows/ci.yml".to_owned(), format!("on: {on}\n{JOBS}"))])
}

fn run(event: &str, git_ref: &str) -> Vec<(String, String, String)> {
    vec![("ci.yml".to_owned(), event.to_owned(), git_ref.to_owned())]
}

#[test]
fn each_event_has_its_ref() {
    let pull = json!({ "action": "opened", "number": 7, "pull_request": {} });
    let merged = json!({ "action": "closed", "number": 7, "pull_request": { "merged": true, "merge_commit_sha": "abc" } });
    let cases = [
        ("push", "push", push("refs/tags/v1"), "refs/tags/v1"),
        ("create", "create", json!({ "ref": "x", "ref_type": "branch" }), "refs/heads/x"),
        ("create", "create", json!({ "ref": "v", "ref_type": "tag" }), "refs/tags/v"),
        (
            "create",
            "create",
            json!({ "ref": "refs/heads/x", "ref_type": "branch" }),
            "refs/heads/x",
        ),
        ("delete", "delete", json!({ "ref": "x", "ref_type": "branch" }), "refs/heads/trunk"),
        ("release", "release", json!({ "release": { "tag_name": "v1" } }), "refs/tags/v1"),
        ("issue_comment", "issue_comment", json!({}), "refs/heads/trunk"),
        ("gollum", "wiki", json!({}), "refs/heads/trunk"),
        ("package", "package", json!({}), "refs/heads/trunk"),
        ("fork", "fork", json!({}), "refs/heads/trunk"),
        ("workflow_run", "workflow_run", json!({}), "refs/heads/trunk"),
        ("pull_request", "pull_request", pull, "refs/pull/7/head"),
        ("{pull_request: {types: closed}}", "pull_request", merged, "abc"),
        (
            "pull_request_review",
            "pull_request_review_rejected",
            json!({ "review": { "commit_id": "d" } }),
            "d",
        ),
    ];
    let context = Context { default_branch: "trunk".to_owned(), ..Context::default() };
    for (on, event, payload, git_ref) in cases {
        let name = on.trim_start_matches('{').split(':').next().expect("a name");
        let got = runs(event, &payload, &one(on), &context, Dialect::V1_27);
        assert_eq!(got, run(name, git_ref), "{event} {payload}");
    }
}

#[test]
fn skip_texts_and_switches_keep_a_push_from_running() {
    let files = one("push");
    let usual = Context::default();
    let said = |message: &str| Context { tip_message: message.to_owned(), ..Context::default() };
    let none = |payload: &Value, context: &Context| {
        runs("push", payload, &files, context, Dialect::V1_27).is_empty()
    };
    let main = push("refs/heads/main");
    assert!(!none(&main, &usual));
    for text in notify::SKIP {
        assert!(none(&main, &said(&format!("a\n\nb {text}"))), "{text}");
        assert!(!none(&main, &said(&text.to_uppercase())), "{text}");
    }
    // The title of a pull request does not count for a push.
    let titled = Context { title: Some("[skip ci]".to_owned()), ..Context::default() };
    assert!(!none(&main, &titled));
    let deleted = json!({ "ref": "refs/heads/main", "after": "0".repeat(40) });
    assert!(none(&deleted, &usual) && none(&push("refs/for/main"), &usual));
    for context in [
        Context { enabled: false, ..Context::default() },
        Context { by_actions: true, ..Context::default() },
        Context { ref_exists: false, ..Context::default() },
        Context { disabled: vec!["ci.yml".to_owned()], ..Context::default() },
    ] {
        assert!(none(&main, &context), "{context:?}");
    }
}

#[test]
fn one_file_can_run_twice_for_a_pull_request() {
    let files = one("[pull_request, pull_request_target]");
    let payload = json!({ "action": "opened", "number": 1 });
    let changed = Changed::Files(vec![]);
    let event = Event { name: "pull_request", payload: &payload, git_ref: "" };
    let what = Notification { event, files: &files, base_files: &files, changed: &changed };
    let context = Context { from_fork: true, ..Context::default() };
    let told = notify::notify(&what, &context, Dialect::V1_27).runs;
    let got: Vec<_> =
        told.iter().map(|run| (run.event.as_str(), run.needs_approval, run.at)).collect();
    let head = At::PullRequestHead;
    assert_eq!(got, [("pull_request", true, head), ("pull_request_target", false, head)]);
    let approval = |change: fn(&mut Context)| {
        let mut context = context.clone();
        change(&mut context);
        notify::notify(&what, &context, Dialect::V1_27).runs[0].needs_approval
    };
    assert!(!approval(|context| context.can_write = true));
    assert!(!approval(|context| context.trusted = true));
    assert!(!approval(|context| context.from_fork = false));
    assert!(approval(|context| (context.can_write, context.restricted) = (true, true)));
}

#[test]
fn only_a_push_to_the_default_branch_stores_schedules() {
    let files = one("{schedule: [{cron: '0 3 * * *'}], push: [main]}");
    let changed = Changed::Files(vec![]);
    let stored = |git_ref: &str, files: &Files| {
        let payload = push(git_ref);
        let event = Event { name: "push", payload: &payload, git_ref: "" };
        let what = Notification { event, files, base_files: files, changed: &changed };
        let told = notify::notify(&what, &Context::default(), Dialect::V1_27);
        told.schedules.map(|schedules| {
            schedules.into_iter().map(|(id, entry)| (id, entry.event)).collect::<Vec<_>>()
        })
    };
    let one = ("ci.yml".to_owned(), "schedule".to_owned());
    assert_eq!(stored("refs/heads/main", &files), Some(vec![one]));
    assert_eq!(stored("refs/heads/main", &Files::new()), Some(vec![]), "they are removed");
    assert_eq!(stored("refs/heads/dev", &files), None, "they stay as they are");
}

#[test]
fn the_first_existing_workflow_directory_is_used() {
    let text = format!("on: push\n{JOBS}");
    let files = |paths: &[&str]| -> Files {
        paths.iter().map(|path| ((*path).to_owned(), text.clone())).collect()
    };
    let got = |paths: &[&str], directories: &[&str], dialect| -> Vec<String> {
        let directories = directories.iter().map(|name| (*name).to_owned()).collect();
        let context = Context { directories, ..Context::default() };
        let runs = runs("push", &push("refs/heads/x"), &files(paths), &context, dialect);
        runs.into_iter().map(|(workflow, _, _)| workflow).collect()
    };
    let usual = files::DIRECTORIES;
    let here = ".gitea/workflows/sub/b.yaml";
    let there = ".github/workflows/a.yml";
    assert_eq!(got(&[here, there], &usual, Dialect::V1_27), ["sub/b.yaml"]);
    assert_eq!(got(&[".gitea/workflows/README", there], &usual, Dialect::V1_27), [""; 0]);
    assert_eq!(got(&[".gitea/workflows2/a.yml", there], &usual, Dialect::V1_27), ["a.yml"]);
    assert_eq!(got(&[here, "ci/c.yml"], &["ci", usual[0]], Dialect::V1_26), ["c.yml"]);
    assert_eq!(got(&[here, "ci/c.yml"], &["ci"], Dialect::V1_25), ["sub/b.yaml"], "not yet");
    assert_eq!(got(&[".gitea/workflows/A.YML"], &usual, Dialect::V1_27), [""; 0]);
    assert_eq!(files::normalized(" .ci\\flows// "), ".ci/flows");
}

#[test]
fn a_workflow_is_started_by_hand() {
    let files = Files::from([
        (".gitea/workflows/a.yml".to_owned(), format!("on: push\n{JOBS}")),
        (".gitea/workflows/b.yml".to_owned(), format!("on: [push, workflow_dispatch]\n{JOBS}")),
    ]);
    let started = |workflow: &str, git_ref: &str, dialect| {
        let payload = json!({ "workflow": workflow, "ref": git_ref });
        let context = Context { tip_message: "[skip ci]".to_owned(), ..Context::default() };
        runs("workflow_dispatch", &payload, &files, &context, dialect)
    };
    let wanted = |workflow: &str, git_ref: &str| {
        vec![(workflow.to_owned(), "workflow_dispatch".to_owned(), git_ref.to_owned())]
    };
    for dialect in [Dialect::V1_25, Dialect::V1_26, Dialect::V1_27] {
        assert_eq!(started("b.yml", "main", dialect), wanted("b.yml", "refs/heads/main"));
        assert_eq!(started("b.yml", "refs/tags/v", dialect), wanted("b.yml", "refs/tags/v"));
        assert_eq!(started("c.yml", "main", dialect), []);
    }
    assert_eq!(started("a.yml", "main", Dialect::V1_25).len(), 1);
    assert_eq!(started("a.yml", "main", Dialect::V1_26), []);
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["main", "dev", "v1", "rel/1", "src/a", "docs/b", "x"])
        .prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        name(),
        name().prop_map(|name| format!("!{name}")),
        prop::sample::select(vec!["**", "*", "!**", "src/**", "[", "v[0-9]+", "{main,dev}", ""])
            .prop_map(str::to_owned),
    ]
}

fn workflow() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "branches",
        "branches-ignore",
        "tags",
        "tags-ignore",
        "paths",
        "paths-ignore",
        "types",
    ]);
    let filters = prop::collection::vec((key, prop::collection::vec(pattern(), 0..3)), 0..4);
    let event = prop::sample::select(vec![
        "push",
        "pull_request",
        "pull_request_target",
        "issues",
        "create",
        "workflow_run",
        "schedule",
    ]);
    prop::collection::vec((event, filters), 0..4).prop_map(|entries| {
        let lines = entries.into_iter().flat_map(|(event, filters)| {
            let filters = filters.into_iter();
            let filters =
                filters.map(|(key, patterns)| format!("    {key}: {}\n", json!(patterns)));
            [format!("  {event}:\n")].into_iter().chain(filters)
        });
        format!("on:\n{}{JOBS}", lines.collect::<String>())
    })
}

const EVENTS: [&str; 6] =
    ["push", "pull_request", "pull_request_sync", "issues", "create", "workflow_run"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// No file is affected by another one, nor by the order of the changed files.
    #[test]
    fn files_are_evaluated_independently(
        texts in prop::collection::vec(workflow(), 1..5),
        mut paths in prop::collection::vec(name(), 0..6),
        event in prop::sample::select(EVENTS.to_vec()),
        branch in name(),
    ) {
        let payload = json!({
            "ref": format!("refs/heads/{branch}"), "action": "opened", "number": 1,
            "pull_request": { "base": { "ref": branch } },
            "workflow_run": { "head_branch": branch },
        });
        let event = Event { name: event, payload: &payload, git_ref: "" };
        let all: Files = texts.iter().enumerate()
            .map(|(n, text)| (format!(".gitea/workflows/{n}.yml"), text.clone())).collect();
        let told = |files: &Files, paths: &[String]| {
            let changed = Changed::Files(paths.to_vec());
            let what = Notification { event, files, base_files: files, changed: &changed };
            notify::notify(&what, &Context::default(), Dialect::V1_27)
        };
        let together = told(&all, &paths);
        paths.reverse();
        prop_assert_eq!(&told(&all, &paths).runs, &together.runs);
        if together.nothing.is_none() {
            let mut apart: Vec<_> = all.iter().flat_map(|(path, text)| {
                told(&Files::from([(path.clone(), text.clone())]), &paths).runs
            }).collect();
            // Those of the base branch come last.
            apart.sort_by_key(|run| run.event == "pull_request_target");
            prop_assert_eq!(&apart, &together.runs);
        }
    }

    /// The rule of counting, computed from the results of the filters alone.
    #[test]
    fn a_match_follows_from_the_count_of_satisfied_filters(text in workflow(), branch in name(), tag in any::<bool>()) {
        let kind = if tag { "tags" } else { "heads" };
        let payload = push(&format!("refs/{kind}/{branch}"));
        let event = Event { name: "push", payload: &payload, git_ref: "" };
        let changed = Changed::Files(vec!["src/a".to_owned()]);
        let told = trigger::evaluate_file(text.as_bytes(), &event, &changed, Dialect::V1_27);
        prop_assert!(told.invalid.is_none());
        for judged in told.entries.iter().filter(|judged| judged.entry.event == "push") {
            let keys: Vec<&str> = judged.filters.iter().map(|filter| filter.key.as_str()).collect();
            let either = |prefix: &str| keys.iter().any(|key| key.starts_with(prefix));
            let given = usize::from(either("branches") && either("tags"));
            let count = judged.filters.iter().filter(|filter| filter.satisfied).count() + given;
            prop_assert_eq!(judged.verdict == Verdict::Matched, count == keys.len());
        }
    }

    #[test]
    fn no_value_of_on_panics(text in "[a-z:{}\\[\\], \n&*!'0-9-]{0,60}") {
        if let Ok(workflow) = yaml::parse(format!("on: {text}").as_bytes()) {
            for dialect in [Dialect::V1_25, Dialect::V1_26, Dialect::V1_27] {
                let _ = on::parse(&workflow, dialect);
                let _ = trigger::entries(&workflow, dialect);
            }
        }
    }
}
