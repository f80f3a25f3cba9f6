//! The calls of `init` and `doctor`.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tinqs_ci_gitea::client::{Access, Client, Error};
use tinqs_ci_gitea::demand::{self, DemandConfig, Mode, Refusal};
use tinqs_ci_gitea::version::Version;
use tinqs_ci_gitea::{Config, Demand, Scope};
use tinqs_ci_local::SystemClock;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _, TrueTime};

use crate::script::{
    RecordedRequest, Script, TOKEN, html, json_answer, not_found, settings, version,
};

#[tokio::test]
async fn only_a_version_is_read_as_a_version() {
    let ask = async |answer: Value| {
        let script = Script::new(move |_: &RecordedRequest| (200, answer.clone())).await;
        script.client().version().await.map_err(|error| error.kind)
    };
    let forgejo = ask(json!({ "version": "12.0.0+gitea-1.22.0" })).await;
    assert_eq!(forgejo, Ok(Version::Forgejo { text: "12.0.0+gitea-1.22.0".into() }));
    let gitea = ask(json!({ "version": "1.26.0+dev" })).await.expect("a version");
    assert!(matches!(gitea, Version::Gitea { numbers: (1, 26, 0), before_release: true, .. }));
    assert_eq!(ask(json!({ "Version": "1.26.0" })).await, Err(ErrorKind::Invalid));
}

#[tokio::test]
async fn the_version_is_read_with_a_token_and_despite_a_wrong_one() {
    // One forge requires a sign-in, the other rejects an unknown token.
    for needs_token in [true, false] {
        let script = Script::new(move |asked: &RecordedRequest| {
            if asked.headers.contains_key("authorization") == needs_token {
                version()
            } else {
                (401, json!({ "message": "Only signed in user is allowed to call APIs." }))
            }
        })
        .await;
        let below = settings(&format!("{}/sub/", script.url));
        let client = Client::new(&below, Arc::new(SystemClock)).expect("a client");
        client.version().await.expect("told");
        assert!(script.take_paths().iter().all(|path| path == "GET /sub/api/v1/version"));
    }
}

/// Asks a server of this version whose job list answers so, and whose runner list answers 403.
async fn ask(
    version: &'static str,
    jobs: u16,
    wanted: Demand,
    secret: bool,
) -> Result<Result<demand::ModeChoice, Refusal>, ErrorKind> {
    let script = Script::new(move |asked: &RecordedRequest| {
        if asked.path == "/api/v1/version" {
            json_answer(200, json!({ "version": version }))
        } else if asked.path.contains("/runners") {
            json_answer(403, json!({ "message": "no" }))
        } else {
            match jobs {
                200 => json_answer(200, json!({ "jobs": [], "total_count": 0 })),
                404 => html(404),
                other => json_answer(other, json!({ "message": "no" })),
            }
        }
    })
    .await;
    let means = DemandConfig { wanted, secret };
    demand::ask(&script.client(), means).await.map_err(|error| error.kind)
}

#[tokio::test]
async fn the_responses_of_the_lists_decide_the_mode() {
    const NEW: &str = "1.26.0+dev";
    let choice = ask(NEW, 200, Demand::Auto, false).await.expect("answers").expect("a mode");
    assert!(choice.why.contains("may not list runners"), "{}", choice.why);
    let refusal = ask(NEW, 403, Demand::Jobs, true).await.expect("answers").expect_err("no right");
    assert!(refusal.to_string().contains("read:admin"), "{refusal}");
    let refusal = ask(NEW, 200, Demand::Push, false).await.expect("answers").expect_err("unsigned");
    assert_eq!(refusal, Refusal::NoSecret);
    for (version, jobs, wanted) in [("1.24.7", 404, Demand::Auto), (NEW, 200, Demand::Push)] {
        let choice = ask(version, jobs, wanted, true).await.expect("answers").expect("a mode");
        assert_eq!(choice.mode, Mode::Push, "{version} {jobs} {wanted:?}");
    }
    assert_eq!(ask(NEW, 503, Demand::Auto, true).await, Err(ErrorKind::Unavailable));
}

#[tokio::test]
async fn a_refused_token_or_a_missing_list_is_no_mode_on_a_server_that_has_the_list() {
    for version in ["1.25.4", "1.27.0", "main"] {
        for secret in [true, false] {
            let refusal = async |jobs: u16| {
                let asked = ask(version, jobs, Demand::Auto, secret).await.expect("answers");
                asked.expect_err("no mode")
            };
            let rejected = refusal(401).await;
            assert!(matches!(rejected, Refusal::Rejected(_)), "{version}: {rejected}");
            assert!(rejected.to_string().contains("has expired or was deleted"), "{rejected}");
            let denied = refusal(403).await;
            assert!(matches!(denied, Refusal::Denied(_)), "{version}: {denied}");
            assert!(denied.to_string().contains("read:admin"), "{denied}");
            let missing = refusal(404).await;
            assert!(matches!(missing, Refusal::NoJobList { .. }), "{version}: {missing}");
        }
    }
}

#[tokio::test]
async fn a_scope_that_does_not_exist_is_named() {
    let cases = [
        (Scope::Org("acme".into()), "no such organization `acme`"),
        (Scope::Repo("acme".into(), "shop".into()), "no such repository `acme/shop`"),
    ];
    for (scope, words) in cases {
        for server in ["1.24.7", "1.27.0"] {
            let script = Script::new(move |asked: &RecordedRequest| {
                if asked.path == "/api/v1/version" {
                    json_answer(200, json!({ "version": server }))
                } else {
                    json_answer(404, not_found().1)
                }
            })
            .await;
            let means = DemandConfig { wanted: Demand::Auto, secret: true };
            let asked = demand::ask(&script.client_of(scope.clone()), means).await;
            let refusal = asked.expect("answers").expect_err("no scope");
            assert!(matches!(refusal, Refusal::NoScope(_)), "{refusal}");
            assert!(refusal.to_string().contains(words), "{refusal}");
        }
    }
}

#[tokio::test]
async fn the_404_of_a_proxy_is_not_evidence_that_the_scope_is_missing() {
    let script = Script::new(|asked: &RecordedRequest| match asked.path.as_str() {
        "/api/v1/version" => json_answer(200, version().1),
        path if path.contains("/actions/") => json_answer(404, not_found().1),
        _ => html(404),
    })
    .await;
    let client = script.client_of(Scope::Org("acme".into()));
    assert_eq!(client.rights().await.expect_err("unclear").kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn forgejo_is_refused_by_its_version_alone() {
    const FORGEJO: &str = "15.0.0+gitea-1.22.0";
    let script = Script::new(|asked: &RecordedRequest| match asked.path.as_str() {
        "/api/v1/version" => (200, json!({ "version": FORGEJO })),
        // Its lists are bare arrays.
        _ => (200, json!([])),
    })
    .await;
    for secret in [false, true] {
        let means = DemandConfig { wanted: Demand::Auto, secret };
        let asked = demand::ask(&script.client(), means).await.expect("it answers");
        let refusal = asked.expect_err("no mode fits");
        assert_eq!(refusal, Refusal::Forgejo { version: Version::parse(FORGEJO) });
        assert!(refusal.to_string().contains("Forgejo is not supported yet"), "{refusal}");
        assert_eq!(script.take_paths(), ["GET /api/v1/version"]);
    }
    // With an explicit mode, the response of the list counts.
    let means = DemandConfig { wanted: Demand::Jobs, secret: false };
    let error = demand::ask(&script.client(), means).await.expect_err("another shape");
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn a_missing_right_names_its_scope() {
    let cases = [
        (Scope::All, "read:admin"),
        (Scope::Org("o".into()), "read:organization"),
        (Scope::User, "read:user"),
        (Scope::Repo("a".into(), "b".into()), "read:repository"),
    ];
    for (scope, needed) in cases {
        let script =
            Script::new(|_: &RecordedRequest| (403, json!({ "message": "not allowed" }))).await;
        let rights = script.client_of(scope).rights().await.expect("answers");
        for access in [rights.jobs, rights.runners] {
            let Access::Denied(why) = access else { panic!("{access:?}") };
            assert!(why.contains(needed) && why.contains("not allowed"), "{why}");
        }
    }
}

#[tokio::test]
async fn without_a_token_the_error_names_the_needed_one() {
    let script =
        Script::new(|_: &RecordedRequest| (401, json!({ "message": "token is required" }))).await;
    let client =
        Client::new(&Config { token: None, ..settings(&script.url) }, Arc::new(SystemClock))
            .expect("a client");
    let error = client.whoami().await.expect_err("no token");
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("`forge.token` is required"), "{error}");
    assert!(error.message.contains("read:user"), "{error}");
    assert!(!client.has_token());
    assert!(script.asked()[0].headers.get("authorization").is_none());
}

#[tokio::test]
async fn a_system_hook_is_created_for_the_whole_forge() {
    let script = Script::new(|asked: &RecordedRequest| {
        if asked.method == "POST" {
            return (201, json!({ "id": 3, "config": { "url": "http://ci/webhook" } }));
        }
        let row = json!({
            "id": 3, "active": true, "events": ["workflow_job"],
            "config": { "url": "http://ci/webhook", "content_type": "json" },
        });
        (200, if asked.number("page") == 1 { json!([row]) } else { json!([]) })
    })
    .await;
    let client = script.client();
    let secret = Secret::new("hook-secret");
    let hook =
        client.create_hook("http://ci/webhook", &secret, Mode::Push.events()).await.expect("made");
    assert_eq!(hook.id, 3);
    let asked = &script.asked()[0];
    assert_eq!(asked.path, "/api/v1/admin/hooks");
    assert_eq!(
        asked.json(),
        json!({
            "type": "gitea", "active": true,
            "events": ["workflow_job", "push", "create", "delete", "pull_request"],
            "config": {
                "url": "http://ci/webhook", "content_type": "json", "secret": "hook-secret",
                "is_system_webhook": "true",
            },
        })
    );
    let hooks = client.hooks().await.expect("listed");
    assert_eq!(hooks.len(), 1);
    assert_eq!((hooks[0].url.as_str(), hooks[0].active), ("http://ci/webhook", true));
    assert_eq!(hooks[0].events, ["workflow_job"]);

    let repo = script.client_of(Scope::Repo("a".into(), "b".into()));
    repo.create_hook("http://ci/webhook", &secret, Mode::Jobs.events()).await.expect("made");
    let asked = script.asked().pop().expect("asked");
    assert_eq!(asked.path, "/api/v1/repos/a/b/hooks");
    assert!(asked.json()["config"].get("is_system_webhook").is_none());
    assert_eq!(asked.json()["events"], json!(["workflow_job"]));
}

#[tokio::test]
async fn the_user_and_the_clock_are_read() {
    let script = Script::new(|asked: &RecordedRequest| {
        let mut answer = match asked.path.as_str() {
            "/api/v1/user" => json_answer(200, json!({ "login": "bot", "is_admin": true })),
            "/api/v1/version" => json_answer(200, version().1),
            _ => json_answer(404, not_found().1),
        };
        let date = "Sat, 01 Aug 2026 10:00:00 GMT".parse().expect("a header");
        answer.headers_mut().insert("date", date);
        answer
    })
    .await;
    let client = script.client();
    let user = client.whoami().await.expect("told");
    assert_eq!((user.login.as_str(), user.is_admin), ("bot", true));
    let time = client.server_time().await.expect("told");
    assert_eq!(time, Some("2026-08-01T10:00:00Z".parse().expect("a time")));
}

#[tokio::test]
async fn every_answer_tells_the_true_time_also_one_that_refuses() {
    let script = Script::new(|_: &RecordedRequest| {
        let mut answer = json_answer(403, json!({ "message": "no" }));
        let date = "Sat, 01 Aug 2026 10:00:00 GMT".parse().expect("a header");
        answer.headers_mut().insert("date", date);
        answer
    })
    .await;
    let client = script.client();
    assert_eq!(client.true_time(), TrueTime::Unknown, "it has not answered yet");
    client.whoami().await.expect_err("refused");
    let TrueTime::About(time) = client.true_time() else { panic!("it has a date") };
    let date: Timestamp = "2026-08-01T10:00:00Z".parse().expect("a time");
    assert!((0..600).contains(&time.duration_since(date).as_secs()), "{time}");
}

#[test]
fn an_invalid_address_or_token_is_refused_without_showing_it() {
    let of = |url: &str, token: &str| {
        let token = Some(Secret::new(token));
        Client::new(&Config { token, ..settings(url) }, Arc::new(SystemClock)).expect_err("refused")
    };
    for url in ["", "git.example.com", "ftp://x", "https://u:pass-word@x", "http://x/?q=1"] {
        let error = of(url, TOKEN);
        assert!(matches!(error, Error::Url(_)), "{url}");
        assert!(!format!("{error} {error:?}").contains("pass-word"), "{error:?}");
    }
    let error = of("http://x", "line\nbreak");
    assert!(matches!(error, Error::Token), "{error}");
    assert!(!format!("{error} {error:?}").contains("break\""), "{error:?}");
    let client = Client::new(&settings("https://x/sub/"), Arc::new(SystemClock)).expect("a client");
    let shown = format!("{client:?}");
    assert!(shown.contains("https://x/sub") && !shown.contains(TOKEN), "{shown}");
}
