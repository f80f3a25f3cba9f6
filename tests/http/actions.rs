//! The actions of a person on the page: the question before, the action, and who may not.

use axum::body::Body;
use axum::http::StatusCode;
use tinqs_ci_reconciler::model::{About, MachineState, Phase, Run};
use tinqs_ci_reconciler::ports::Compute as _;

use crate::asking::{Answer, TOKEN, TestServer};
use crate::doors::Log;
use crate::sign_in::{FORM, HTML, NONE, OWN, READS, signed_in, two_tokens};
use crate::world::{add_run, name};

/// A browser that has signed in.
struct Person<'s> {
    server: &'s TestServer,
    cookie: String,
}

impl<'s> Person<'s> {
    async fn with(server: &'s TestServer, token: &str) -> Self {
        Self { server, cookie: signed_in(server, token).await }
    }

    async fn see(&self, path: &str) -> Answer {
        let headers = [HTML, NONE, ("cookie", self.cookie.as_str())];
        self.server.ask("GET", path, &headers, Body::empty()).await
    }

    async fn press(&self, path: &str, form: &str) -> Answer {
        self.send(path, form, &[OWN]).await
    }

    async fn send(&self, path: &str, form: &str, more: &[(&str, &str)]) -> Answer {
        let headers = [&[HTML, NONE, FORM, ("cookie", self.cookie.as_str())], more].concat();
        self.server.ask("POST", path, &headers, form.to_owned()).await
    }
}

#[track_caller]
fn leads_to(answer: &Answer, path: &str) {
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, path),
        "{answer:?}"
    );
}

fn run(server: &TestServer) -> Run {
    server.world.state().runs[&name(7)].clone()
}

/// Puts a run with a machine that is up.
async fn with_machine(server: &TestServer) -> String {
    let about = About { repo: "acme/web".to_owned(), job: "e2e".to_owned(), ..About::default() };
    let run = add_run(&server.world, 7, about);
    let attempt = crate::api::attempt(&run);
    let machine = server.world.launch(&run.attempt_id(1), 0, &attempt).await.expect("up");
    machine.id.to_string()
}

#[tokio::test]
async fn a_deletion_says_what_follows_and_a_retry_takes_it_back() {
    let server = TestServer::new(two_tokens());
    add_run(&server.world, 7, About { job: "e2e".to_owned(), ..About::default() });
    let person = Person::with(&server, TOKEN).await;
    let page = person.see("/runs/job-7").await.text;
    assert!(page.contains("href=\"/runs/job-7/delete\""), "{page}");
    let question = person.see("/runs/job-7/delete").await;
    assert_eq!(question.status, StatusCode::OK);
    for part in [
        "<h1>Delete job-7?</h1>",
        "e2e: the job gets no machine any more",
        "The run has no machine.",
        "<form class=\"act\" method=\"post\" action=\"/runs/job-7/delete\">",
        "name=\"version\" value=\"1\"",
        "href=\"/runs/job-7\"",
    ] {
        assert!(question.text.contains(part), "{part}: {}", question.text);
    }
    assert_eq!(run(&server).deleted_at, None, "asking changes nothing");
    leads_to(&person.press("/runs/job-7/delete", "version=1").await, "/runs/job-7");
    assert!(run(&server).deleted_at.is_some() && !run(&server).terminate_now);
    let page = person.see("/runs/job-7").await.text;
    assert!(
        page.contains("ops deleted the run") && !page.contains("/runs/job-7/delete\""),
        "{page}"
    );
    let version = format!("version={}", run(&server).version);
    leads_to(&person.press("/runs/job-7/retry", &version).await, "/runs/job-7");
    assert_eq!(run(&server).deleted_at, None);
    let version = format!("version={}&now=yes", run(&server).version);
    leads_to(&person.press("/runs/job-7/delete", &version).await, "/runs/job-7");
    assert!(run(&server).terminate_now, "the machine too, if that is checked");
}

#[tokio::test]
async fn a_run_that_has_changed_is_asked_about_again() {
    let server = TestServer::new(two_tokens());
    add_run(&server.world, 7, About::default());
    let person = Person::with(&server, TOKEN).await;
    for form in ["version=99", "version=x", ""] {
        let answer = person.press("/runs/job-7/delete", form).await;
        assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED, "{form}: {answer:?}");
        assert!(answer.text.contains("has changed since you were asked"), "{}", answer.text);
        assert!(answer.text.contains("name=\"version\" value=\"1\""), "{}", answer.text);
    }
    assert_eq!(run(&server).deleted_at, None);
    server.world.state().runs.get_mut(&name(7)).expect("a run").status.phase = Phase::Finished;
    for answer in [
        person.see("/runs/job-7/retry").await,
        person.press("/runs/job-7/retry", "version=1").await,
    ] {
        assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");
        assert!(answer.text.contains("there is nothing to retry"), "{}", answer.text);
    }
    for path in ["/runs/job-8/retry", "/runs/job-7/explode", "/machines/none/terminate"] {
        assert_eq!(person.see(path).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(person.press(path, "version=1").await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_machine_is_terminated_and_its_run_woken() {
    let server = TestServer::new(two_tokens());
    let id = with_machine(&server).await;
    server.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    let person = Person::with(&server, TOKEN).await;
    let path = format!("/machines/{id}/terminate");
    let list = person.see("/machines").await.text;
    assert!(list.contains(&format!("href=\"{path}\"")), "{list}");
    let question = person.see(&path).await.text;
    assert!(question.contains(&format!("<h1>Terminate {id}?</h1>")), "{question}");
    assert!(question.contains("It ends at once"), "{question}");
    leads_to(&person.press(&path, "").await, "/machines");
    assert_eq!(server.world.state().machines[0].state, MachineState::Gone);
    let again = person.press(&path, "").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert!(again.text.contains("this machine is gone already"), "{}", again.text);
}

#[tokio::test]
async fn launches_are_paused_and_resumed_and_a_sweep_shows_its_report() {
    let server = TestServer::new(two_tokens());
    let person = Person::with(&server, TOKEN).await;
    for (screen, before) in [("/", ""), ("/classes", "/classes/linux")] {
        for (action, button) in [("pause", "Pause"), ("resume", "Resume")] {
            let path = format!("{before}/{action}");
            let page = person.see(screen).await.text;
            assert!(page.contains(&format!("href=\"{path}\"")), "{path}: {page}");
            let question = person.see(&path).await.text;
            assert!(question.contains(&format!("<h1>{button} the launches of ")), "{question}");
            leads_to(&person.press(&path, "").await, screen);
            let paused = server.world.state().pauses.len();
            assert_eq!(paused, usize::from(action == "pause"), "{path}");
        }
    }
    let unknown = person.press("/classes/none/pause", "").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(person.see("/sweep").await.text.contains("<h1>Sweep now?</h1>"));
    assert_eq!(server.world.calls("list"), 0, "asking sweeps nothing");
    let swept = person.press("/sweep", "").await;
    assert_eq!(swept.status, StatusCode::OK);
    assert!(swept.text.contains("waiting jobs"), "{}", swept.text);
    assert!(server.world.calls("list") > 0);
}

#[tokio::test]
async fn a_reader_sees_no_actions_and_nobody_acts_from_elsewhere() {
    let server = TestServer::new(two_tokens());
    let id = with_machine(&server).await;
    server.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    let (log, _recorded) = Log::recorded();
    let reader = Person::with(&server, READS).await;
    let person = Person::with(&server, TOKEN).await;
    for screen in ["/", "/runs/job-7", "/machines", "/classes"] {
        let page = reader.see(screen).await.text;
        for action in ["/retry\"", "/delete\"", "/terminate\"", "/pause\"", "\"/sweep\""] {
            assert!(!page.contains(action), "{screen}: {action}");
        }
    }
    let terminate = format!("/machines/{id}/terminate");
    let paths = [
        "/runs/job-7/retry",
        "/runs/job-7/delete",
        &terminate,
        "/pause",
        "/classes/linux/resume",
        "/sweep",
    ];
    let (writes, calls) = (run(&server).version, server.world.calls("list"));
    for path in paths {
        for answer in [reader.see(path).await, reader.press(path, "version=1").await] {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
            assert!(answer.text.contains("may only read"), "{path}: {}", answer.text);
        }
        for foreign in [&[][..], &[("sec-fetch-site", "same-site")], &[("origin", "null")]] {
            let answer = person.send(path, "version=1", foreign).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
            assert!(answer.text.contains("does not come from the page"), "{path}");
        }
        let anybody = [HTML, NONE, OWN];
        let answer = server.ask("POST", path, &anybody, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!((run(&server).version, server.world.calls("list")), (writes, calls));
    assert_eq!(server.world.state().pauses, []);
    assert_eq!(server.world.calls("terminate"), 0);
    leads_to(&person.press("/pause", "").await, "/");
    let audit = log.audit();
    let refused = ["dashboard", "POST /runs/job-7/retry", "refused"].map(str::to_owned);
    let done = ["ops", "POST /pause", "done"].map(str::to_owned);
    assert!(audit.contains(&refused), "{audit:?}");
    assert_eq!(audit.last(), Some(&done));
}
