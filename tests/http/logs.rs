//! `GET /v1/machines/{id}/log`.

use axum::http::StatusCode;
use tinqs_ci_reconciler::model::{About, Machine, MachineState};
use tinqs_ci_reconciler::ports::Compute as _;

use crate::api::attempt;
use crate::asking::{SECRET, TestServer, settings};
use crate::world::{CANARY, add_run, name};

/// A server, and a machine of a recorded attempt.
async fn with_machine() -> (TestServer, Machine) {
    let asked = TestServer::new(settings());
    let run = add_run(&asked.world, 1, About::default());
    let attempt = attempt(&run);
    let machine = asked.world.launch(&run.attempt_id(1), 0, &attempt).await.expect("up");
    asked.world.state().runs.get_mut(&name(1)).expect("a run").status.attempt = Some(attempt);
    (asked, machine)
}

fn prints(asked: &TestServer, machine: &Machine, text: impl Into<Vec<u8>>) {
    asked.world.state().logs.insert(machine.id.0.clone(), text.into());
}

#[tokio::test]
async fn the_end_of_a_log_is_plain_text() {
    let (asked, machine) = with_machine().await;
    let path = format!("/v1/machines/{}/log", machine.id);
    let none = asked.get(&path).await;
    assert_eq!((none.status, none.text.as_str()), (StatusCode::NO_CONTENT, ""));
    prints(&asked, &machine, "one\ntwo\n");
    let all = asked.get(&path).await;
    assert_eq!((all.status, all.text.as_str()), (StatusCode::OK, "one\ntwo\n"));
    assert_eq!(all.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(all.header("tinqs-ci-log-cut"), "false");
    assert_eq!(all.header("tinqs-ci-machine-state"), "up");
    let end = asked.get(&format!("{path}?tail=4")).await;
    assert_eq!((end.text.as_str(), end.header("tinqs-ci-log-cut")), ("two\n", "true"));
    asked.world.state().machines[0].state = MachineState::Gone;
    assert_eq!(asked.get(&path).await.header("tinqs-ci-machine-state"), "gone");
}

#[tokio::test]
async fn a_machine_that_is_gone_may_show_no_output_any_more() {
    let (asked, machine) = with_machine().await;
    asked.world.state().machines[0].state = MachineState::Gone;
    let none = asked.get(&format!("/v1/machines/{}/log", machine.id)).await;
    let state = none.header("tinqs-ci-machine-state");
    assert_eq!((none.status, state), (StatusCode::NO_CONTENT, "gone"));
}

#[tokio::test]
async fn credentials_are_cut_out_wherever_the_log_is_cut() {
    let (asked, machine) = with_machine().await;
    let path = format!("/v1/machines/{}/log", machine.id);
    let text = format!("token {CANARY}, {SECRET}, {CANARY}\n");
    prints(&asked, &machine, text.clone());
    assert_eq!(asked.get(&path).await.text, "token [secret], [secret], [secret]\n");
    for tail in 1..=text.len() {
        let told = asked.get(&format!("{path}?tail={tail}")).await.text;
        assert!(told.len() <= tail + "[secret]".len(), "{tail}: {told}");
        // No part of a credential that is longer than a syllable.
        for from in 0..CANARY.len() - 3 {
            assert!(!told.contains(&CANARY[from..from + 4]), "{tail}: {told}");
        }
    }
}

#[tokio::test]
async fn a_log_may_hold_anything_and_be_huge() {
    let (asked, machine) = with_machine().await;
    let path = format!("/v1/machines/{}/log?tail=1048576", machine.id);
    prints(&asked, &machine, b"\xff\x00\x1b[31m\xe2\x82".to_vec());
    assert_eq!(asked.get(&path).await.text, "\u{fffd}\0\u{1b}[31m");
    prints(&asked, &machine, "x".repeat(3 << 20));
    assert_eq!(asked.get(&path).await.text.len(), 1 << 20);
}

#[tokio::test]
async fn unknown_machines_and_queries_are_problems() {
    let (asked, machine) = with_machine().await;
    let of = |query: &str| format!("/v1/machines/{}/log{query}", machine.id);
    let cases = [
        ("/v1/machines/m-1/log".to_owned(), StatusCode::NOT_FOUND),
        ("/v1/machines/..%2f..%2fetc/log".to_owned(), StatusCode::NOT_FOUND),
        (of("?tail=0"), StatusCode::BAD_REQUEST),
        (of("?tail=1048577"), StatusCode::BAD_REQUEST),
        (of("?tail=x"), StatusCode::BAD_REQUEST),
        (of("?head=1"), StatusCode::BAD_REQUEST),
    ];
    for (path, expected) in cases {
        let answer = asked.get(&path).await;
        assert_eq!(answer.status, expected, "{path}: {answer:?}");
    }
    assert_eq!(asked.world.calls("log"), 0);
}
