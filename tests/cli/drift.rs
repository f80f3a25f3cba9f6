//! `drift`: its forms and exit codes.

use expect_test::expect;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::scripted::{Answer, Server};
use crate::{CommandOutput, command, said};

fn ask(server: &Server, args: &[&str]) -> CommandOutput {
    let env = [("TINQS_CI_URL", server.url.as_str())];
    said(command(args, &env).output().expect("it runs"))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn server(items: Value) -> Server {
    Server::new(move |asked, _| {
        assert_eq!(asked.line, "GET /v1/drift");
        Answer(200, None, json!({ "now": at(242), "items": items }))
    })
}

fn waiting() -> Value {
    json!([{
        "kind": "RunWithoutMachine", "class": "gpu", "run": "job-4077", "repo": "acme/api",
        "job": "e2e\u{1b}[2J", "url": "", "machine": null, "registration": null,
        "since": at(0), "open_since": at(60), "blocked_by": "NoCapacity",
        "message": "its job has waited for 4 min, and there is no machine for it: no capacity",
        "next": "Launch", "by": at(280), "fix": "add kinds, subnets or the market `on-demand` to the class",
    }])
}

#[test]
fn drift_is_told_with_what_blocks_it_and_what_comes_next() {
    let server = server(waiting());
    let told = ask(&server, &["drift"]);
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    expect![[r#"
        ! run without machine, job-4077 acme/api e2e\u{1b}[2J, class gpu, for 4 min:
          NoCapacity
          its job has waited for 4 min, and there is no machine for it: no capacity; the
          next attempt follows within 38 s
          → add kinds, subnets or the market `on-demand` to the class
    "#]]
    .assert_eq(&told.out);
    let wide = ask(&server, &["drift", "-o", "wide"]);
    expect![[r#"
        KIND               NAME      JOB                    RUN       CLASS  AGE  OPEN  NEXT    BY      REASON
        RunWithoutMachine  job-4077  acme/api e2e\u{1b}[2J  job-4077  gpu    4m   3m    Launch  in 38s  NoCapacity
    "#]].assert_eq(&wide.out);
    let json: Value =
        serde_json::from_str(&ask(&server, &["drift", "-o", "json"]).out).expect("JSON");
    assert_eq!(json["items"], waiting());
    let yaml = ask(&server, &["drift", "-o", "yaml"]).out;
    assert!(yaml.contains("kind: RunWithoutMachine\n"), "{yaml}");
    assert!(!yaml.contains('\u{1b}'), "{yaml}");
}

#[test]
fn the_exit_code_says_whether_something_drifts() {
    let drifting = server(waiting());
    assert_eq!(ask(&drifting, &["drift", "--exit-code"]).code, 2);
    let quiet = server(json!([]));
    let told = ask(&quiet, &["drift", "--exit-code"]);
    assert_eq!((told.code, told.out.as_str()), (0, "✓ nothing drifts\n"));
    assert_eq!(ask(&quiet, &["drift", "-o", "wide"]).out, "✓ nothing drifts\n");
    let nobody = said(
        command(&["drift"], &[("TINQS_CI_URL", "http://127.0.0.1:1")]).output().expect("it runs"),
    );
    assert_eq!(nobody.code, 4, "{}", nobody.err);
}
