//! `pause` and `resume`: what they ask for, and what they say.

use serde_json::{Value, json};

use crate::scripted::{Answer, Server, problem};
use crate::{CommandOutput, command, said};

const SINCE: &str = "2026-01-01T12:00:00Z";

fn pause(class: Option<&str>) -> Value {
    json!({ "class": class, "since": SINCE, "by": "ops\u{1b}[2J" })
}

fn server() -> Server {
    Server::new(|asked, times| {
        let body = |changed: bool, pauses: Vec<Value>| {
            let now = "2026-01-01T12:03:00Z";
            Answer(200, None, json!({ "now": now, "changed": changed, "pauses": pauses }))
        };
        match asked.line.as_str() {
            "POST /v1/classes/linux/pause" => body(times == 0, vec![pause(Some("linux"))]),
            "POST /v1/pause" => body(true, vec![pause(None)]),
            "POST /v1/classes/linux/resume" => body(times == 0, vec![pause(None)]),
            "POST /v1/resume" => body(true, Vec::new()),
            "POST /v1/classes/none/pause" => {
                problem(404, "class `none` is not configured: `tinqs-ci get classes` lists them")
            }
            line => panic!("unexpected request {line}"),
        }
    })
}

fn ask(server: &Server, args: &[&str]) -> CommandOutput {
    let env = [("TINQS_CI_URL", server.url.as_str()), ("TINQS_CI_API_TOKEN", "word")];
    said(command(args, &env).output().expect("it runs"))
}

#[test]
fn a_pause_says_what_follows_and_who_was_first() {
    let server = server();
    let first = ask(&server, &["pause", "linux"]);
    assert_eq!((first.code, first.out.as_str()), (0, "class/linux paused\n"));
    assert!(first.err.contains("jobs that run go on"), "{}", first.err);
    assert!(first.err.contains("`tinqs-ci resume linux`"), "{}", first.err);
    let again = ask(&server, &["pause", "class/linux"]);
    let expected = "class/linux paused already, by ops\\u{1b}[2J for 3 min\n";
    assert_eq!((again.code, again.out.as_str()), (0, expected));
    let all = ask(&server, &["pause"]);
    assert_eq!((all.code, all.out.as_str()), (0, "all classes paused\n"));
    assert!(all.err.contains("`tinqs-ci resume`"), "{}", all.err);
}

#[test]
fn a_class_is_resumed_and_a_pause_of_all_that_is_left_is_told() {
    let server = server();
    let one = ask(&server, &["resume", "linux"]);
    assert_eq!((one.code, one.out.as_str()), (0, "class/linux resumed\n"));
    assert!(one.err.contains("all launches are still paused"), "{}", one.err);
    let again = ask(&server, &["resume", "linux"]);
    assert_eq!(again.out, "class/linux not paused\n");
    let all = ask(&server, &["resume"]);
    assert_eq!((all.out.as_str(), all.err.as_str()), ("all classes resumed\n", ""));
}

#[test]
fn an_unknown_class_is_not_found() {
    let server = server();
    let told = ask(&server, &["pause", "none"]);
    assert_eq!((told.code, told.out.as_str()), (3, ""));
    assert!(told.err.contains("`none`"), "{}", told.err);
    let told = ask(&server, &["pause", "class/"]);
    assert_eq!(told.code, 2, "{}", told.err);
    assert_eq!(server.lines().len(), 1);
}
