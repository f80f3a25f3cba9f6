//! Events, refs, users and switches that decide beside the file.

use serde_json::{Value, json};
use tinqs_ci_workflow::Dialect;
use tinqs_ci_workflow::notify::{self, At, Context, Files, Nothing, Notification, Notified};
use tinqs_ci_workflow::trigger::{
    self, Changed, Event, FilterReason, Judged, ParsedWorkflow, Verdict,
};

const LINES: [Dialect; 3] = [Dialect::V1_25, Dialect::V1_26, Dialect::V1_27];
const JOBS: &str = "jobs:\n  a:\n    runs-on: linux\n";

fn one(on: &str) -> Files {
    Files::from([(".gitea/workflows/ci.yml".to_owned(), format!("on: {on}\n{JOBS}"))])
}

fn told(event: &str, payload: &Value, files: &Files, context: &Context, line: Dialect) -> Notified {
    let changed = Changed::Files(vec!["a".to_owned()]);
    let event = Event { name: event, payload, git_ref: "" };
    let what = Notification { event, files, base_files: files, changed: &changed };
    notify::notify(&what, context, line)
}

fn push(git_ref: &str) -> Value {
    json!({ "ref": git_ref, "before": "a".repeat(40), "after": "b".repeat(40) })
}

/// Evaluates the one event that a file names.
fn judged(on: &str, event: &str, payload: &Value) -> Judged {
    let event = Event { name: event, payload, git_ref: "" };
    let changed = Changed::Files(vec!["a".to_owned()]);
    let text = format!("on: {on}\n{JOBS}");
    let told = trigger::evaluate_file(text.as_bytes(), &event, &changed, Dialect::V1_27);
    told.entries.into_iter().next().expect("an event")
}

#[test]
fn the_reason_for_evaluating_nothing_is_reported() {
    let main = push("refs/heads/main");
    let gone = json!({ "ref": "refs/heads/main", "after": "0".repeat(40) });
    let plain = Context::default;
    let cases = [
        (&gone, plain(), Nothing::Deleted),
        (&push("refs/for/main"), plain(), Nothing::NoRef("refs/for/main".to_owned())),
        (&main, Context { by_actions: true, ..plain() }, Nothing::ByActions),
        (&main, Context { enabled: false, ..plain() }, Nothing::Disabled),
        (
            &main,
            Context { ref_exists: false, ..plain() },
            Nothing::RefGone("refs/heads/main".to_owned()),
        ),
        (
            &main,
            Context { tip_message: "a [no ci]".to_owned(), ..plain() },
            Nothing::Skipped("[no ci]".to_owned()),
        ),
    ];
    for (payload, context, want) in cases {
        let told = told("push", payload, &one("push"), &context, Dialect::V1_27);
        assert_eq!((told.nothing, told.runs.len()), (Some(want), 0));
        assert!(told.workflows.is_empty() && told.schedules.is_none());
    }
    assert_eq!(told("push", &main, &one("push"), &plain(), Dialect::V1_27).nothing, None);
}

/// The title counts for pull requests as they are opened or pushed to, and for nothing else.
#[test]
fn titles_skip_pull_requests() {
    let titled = Context { title: Some("x [skip ci]".to_owned()), ..Context::default() };
    let payload = json!({ "action": "opened", "number": 1 });
    let runs = |event: &str, context: &Context| {
        told(event, &payload, &one("[pull_request, issues]"), context, Dialect::V1_27).runs.len()
    };
    for (event, with_title) in
        [("pull_request", 0), ("pull_request_sync", 0), ("pull_request_label", 1), ("issues", 1)]
    {
        assert_eq!(runs(event, &titled), with_title, "{event}");
        assert_eq!(runs(event, &Context::default()), 1, "{event}");
    }
}

#[test]
fn at_most_five_events_of_successive_workflow_runs_are_followed() {
    let nothing = |event: &str, payload: &Value, chain: usize| {
        let context = Context { chain, ..Context::default() };
        told(event, payload, &one("[workflow_run, push]"), &context, Dialect::V1_27).nothing
    };
    let run = json!({ "action": "completed" });
    assert_eq!(nothing("workflow_run", &run, 4), None);
    assert_eq!(nothing("workflow_run", &run, 5), Some(Nothing::Chain));
    assert_eq!(nothing("push", &push("refs/heads/main"), 5), None);
}

#[test]
fn only_a_merged_pull_request_runs_for_the_merge_commit() {
    let at = |action: &str, merged: bool| {
        let payload = json!({
            "action": action, "number": 7,
            "pull_request": { "merged": merged, "merge_commit_sha": "abc" },
        });
        let files = one("{pull_request: {types: ['*']}}");
        let told = told("pull_request", &payload, &files, &Context::default(), Dialect::V1_27);
        (told.runs[0].git_ref.clone(), told.runs[0].at)
    };
    let head = ("refs/pull/7/head".to_owned(), At::PullRequestHead);
    assert_eq!(at("closed", true), ("abc".to_owned(), At::Merge));
    assert_eq!(at("closed", false), head);
    assert_eq!(at("labeled", true), head);
}

/// Before 1.27 the base branch's copy of a disabled workflow still ran.
#[test]
fn a_disabled_workflow_of_the_base_branch_ran_before_1_27() {
    let context = Context { disabled: vec!["ci.yml".to_owned()], ..Context::default() };
    let payload = json!({ "action": "opened", "number": 1 });
    for (line, base) in LINES.iter().zip([1, 1, 0]) {
        let runs = |on: &str| told("pull_request", &payload, &one(on), &context, *line).runs.len();
        assert_eq!(runs("pull_request_target"), base, "{line:?}");
        assert_eq!(runs("pull_request"), 0, "{line:?}");
    }
}

#[test]
fn only_a_forks_pull_request_waits_for_approval() {
    let context = Context { from_fork: true, restricted: true, ..Context::default() };
    let waits = |event: &str, payload: &Value, on: &str| {
        told(event, payload, &one(on), &context, Dialect::V1_27).runs[0].needs_approval
    };
    let pull = json!({ "action": "opened", "number": 1 });
    assert!(waits("pull_request", &pull, "pull_request"));
    assert!(!waits("pull_request", &pull, "pull_request_target"));
    assert!(!waits("push", &push("refs/heads/main"), "push"));
    assert!(!waits("issues", &json!({ "action": "opened" }), "issues"));
}

/// Up to 1.25 a file without jobs fails only when the workflow run is created.
#[test]
fn a_file_without_jobs_starts_no_run() {
    let payload = push("refs/heads/main");
    let files = Files::from([(".gitea/workflows/ci.yml".to_owned(), "on: push\n".to_owned())]);
    for line in LINES {
        let told = told("push", &payload, &files, &Context::default(), line);
        let (_, evaluation) = &told.workflows[0];
        let old = line == Dialect::V1_25;
        assert!(told.runs.is_empty());
        assert_eq!((evaluation.no_jobs.is_some(), evaluation.invalid.is_none()), (old, old));
    }
    // Jobs of an ignored file are not checked.
    let said = ParsedWorkflow::read(b"on: {push: *x}\njobs: []\n", Dialect::V1_25);
    assert!(said.entries.is_err() && said.no_jobs.is_none());
    let said = ParsedWorkflow::read(b"on: [1]\n", Dialect::V1_25);
    assert!(said.entries.is_err() && said.no_jobs.is_none());
}

#[test]
fn a_workflow_started_by_hand_must_exist_and_be_enabled() {
    let files = one("[push, workflow_dispatch]");
    let start = |workflow: &str, git_ref: &str, context: &Context| {
        let payload = json!({ "workflow": workflow, "ref": git_ref });
        let told = told("workflow_dispatch", &payload, &files, context, Dialect::V1_27);
        (told.nothing, told.runs.len(), told.workflows.len())
    };
    let plain = Context::default;
    assert_eq!(start("ci.yml", "main", &plain()), (None, 1, 1));
    assert_eq!(start("ci.yml", "refs/heads/main", &plain()), (None, 1, 1));
    assert_eq!(start("no.yml", "main", &plain()), (None, 0, 0));
    let gone = |name: &str| Some(Nothing::RefGone(format!("refs/heads/{name}")));
    assert_eq!(start("ci.yml", "", &plain()), (gone(""), 0, 0));
    let without = Context { ref_exists: false, ..plain() };
    assert_eq!(start("ci.yml", "main", &without), (gone("main"), 0, 0));
    let off = Context { enabled: false, ..plain() };
    assert_eq!(start("ci.yml", "main", &off), (Some(Nothing::Disabled), 0, 0));
    let disabled = |id: &str| Context { disabled: vec![id.to_owned()], ..plain() };
    assert_eq!(start("ci.yml", "main", &disabled("ci.yml")), (None, 0, 0));
    assert_eq!(start("ci.yml", "main", &disabled("other.yml")), (None, 1, 1));
}

/// `create`, `delete`, `fork`, `wiki`: filters are ignored.
#[test]
fn some_events_ignore_filters() {
    for (on, event) in
        [("create", "create"), ("delete", "delete"), ("fork", "fork"), ("gollum", "wiki")]
    {
        let filtered =
            judged(&format!("{{{on}: {{branches: [x], types: ['[']}}}}"), event, &json!({}));
        assert_eq!((filtered.verdict, filtered.filters.len()), (Verdict::Matched, 0), "{on}");
    }
    let of = |on: &str, event: &str| judged(on, event, &json!({})).verdict;
    assert_eq!(of("workflow_job", "workflow_job"), Verdict::Unsupported);
    assert_eq!(of("{workflow_job: {types: x}}", "workflow_job"), Verdict::Unsupported);
    assert_eq!(of("release", "package"), Verdict::OtherEvent);
}

/// An activity missing in `types` differs from a filter that is not satisfied.
#[test]
fn activities_come_before_filters() {
    let pull = json!({ "action": "opened", "pull_request": { "base": { "ref": "main" } } });
    let verdict = |filters: &str| {
        judged(&format!("{{pull_request: {{{filters}}}}}"), "pull_request", &pull).verdict
    };
    assert_eq!(verdict("types: [opened], branches: [main]"), Verdict::Matched);
    assert_eq!(verdict("types: [opened], branches: [x]"), Verdict::FilteredOut);
    assert_eq!(verdict("branches: [x]"), Verdict::FilteredOut);
    assert_eq!(verdict("types: [closed], branches: [main]"), Verdict::OtherActivity);
    assert_eq!(verdict("types: [closed], branches: [x]"), Verdict::OtherActivity);
    assert_eq!(verdict("types: ['['], branches: [x]"), Verdict::GivenUp);
    // A push has no activities.
    let main = push("refs/heads/main");
    assert_eq!(judged("{push: {types: ['[']}}", "push", &main).verdict, Verdict::FilteredOut);
    assert_eq!(
        judged("{push: {types: [x]}}", "push", &main).filters[0].why,
        FilterReason::UnknownFilter
    );
}

#[test]
fn filters_of_pull_requests_and_workflow_runs() {
    let matches = |on: &str, event: &str, payload: &Value| {
        judged(on, event, payload).verdict == Verdict::Matched
    };
    let pull =
        |base: &str| json!({ "action": "opened", "pull_request": { "base": { "ref": base } } });
    for (filter, fine) in [
        ("branches: [main]", true),
        ("branches: [x]", false),
        ("branches-ignore: [x]", true),
        ("branches-ignore: [main]", false),
        ("paths: [a]", true),
        ("paths: [b]", false),
        ("paths-ignore: [b]", true),
        ("paths-ignore: [a]", false),
        ("tags: ['**']", false),
        ("tags-ignore: [x]", false),
    ] {
        for base in ["main", "refs/heads/main", "refs/remotes/main", "refs/tags/main"] {
            let on = format!("{{pull_request: {{{filter}}}}}");
            assert_eq!(matches(&on, "pull_request", &pull(base)), fine, "{filter} {base}");
        }
    }
    let run = json!({
        "action": "completed", "workflow": { "name": "CI" }, "workflow_run": { "head_branch": "main" },
    });
    for (filter, fine) in [
        ("workflows: [CI]", true),
        ("workflows: [ci]", false),
        ("branches: [main]", true),
        ("branches: [x]", false),
        ("branches-ignore: [x]", true),
        ("branches-ignore: [main]", false),
        ("types: [completed]", true),
        ("types: [requested]", false),
        ("paths: ['**']", false),
    ] {
        let on = format!("{{workflow_run: {{{filter}}}}}");
        assert_eq!(matches(&on, "workflow_run", &run), fine, "{filter}");
    }
}

#[test]
fn activities_are_reported_by_githubs_names() {
    let why = |on: &str, event: &str, payload: &Value| {
        judged(on, event, payload).filters[0].why.to_string()
    };
    for (on, event, action, types, want) in [
        ("issues", "issue_label", "label_cleared", "unlabeled", "the activity is unlabeled"),
        ("issues", "issues", "opened", "opened", "the activity is opened"),
        ("issues", "issue_label", "label_updated", "x", "the activity has no name"),
        ("issue_comment", "issue_comment", "created", "created", "the activity is created"),
        (
            "pull_request_review",
            "pull_request_review_comment",
            "reviewed",
            "edited",
            "the activity is created, edited",
        ),
        (
            "pull_request_review",
            "pull_request_review_comment",
            "reviewed",
            "submitted",
            "the activity is created, edited, which `types` does not include",
        ),
        (
            "pull_request_review",
            "pull_request_review_comment",
            "other",
            "'*'",
            "the activity has no name",
        ),
        (
            "pull_request_review",
            "pull_request_review_approved",
            "reviewed",
            "edited",
            "the activity is submitted, edited",
        ),
        ("release", "release", "published", "published", "the activity is published"),
        ("release", "release", "updated", "edited", "the activity is edited"),
        // Only a pull request's activity has another name.
        ("release", "release", "synchronized", "synchronized", "the activity is synchronized"),
        ("registry_package", "package", "created", "published", "the activity is published"),
        ("registry_package", "package", "deleted", "deleted", "the activity is deleted"),
    ] {
        let on = format!("{{{on}: {{types: [{types}]}}}}");
        assert_eq!(why(&on, event, &json!({ "action": action })), want, "{event} {action}");
    }
    let both = json!({
        "action": "label_updated",
        "changes": { "added_labels": [{}], "removed_labels": [{}] },
    });
    assert_eq!(
        why("{issues: {types: [x]}}", "issue_label", &both),
        "the activity is labeled, unlabeled, which `types` does not include"
    );
}
