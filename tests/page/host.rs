//! A server with the test world on loopback, and a page that measures others.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde::Deserialize;
use tinqs_ci::server::http::{App, Deadlines, everything};
use tinqs_ci::server::{Parts, PollSignal, Role};
use tinqs_ci::settings::{
    ComputeUrl, LaunchRate, ProcessUser, QueueUrl, Right, Server, Settings, StoreUrl, Token,
};
use tinqs_ci_gitea::{Config, Demand, RegisterIn, Scope};
use tinqs_ci_reconciler::model::{
    About, AttemptId, ClassName, Happened, JobRef, Machine, MachineId, MachineState, Market,
    Milestone, Outcome, Phase, Run, RunName, Secret, SeenBy, Spec,
};
use tinqs_ci_reconciler::ports::{Expect, RunStore};
use tinqs_ci_testing::{TestWorld, make};

/// Text that changes the page if any of it is markup.
pub(crate) const HOSTILE: &str = "</td><img src=x onerror=\"document.body.dataset.attacked=1\">\
                                  <script>document.body.dataset.attacked=2</script>";

/// A token that may read.
pub(crate) const READS: &str = "a-token-of-the-page";

/// A token that may operate.
pub(crate) const OPERATES: &str = "a-token-that-operates";

fn token(name: &str, secret: &str, may: Right) -> Token {
    Token { name: name.to_owned(), secret: Secret::new(secret), may }
}

type Action = Box<dyn FnOnce(&Host) + Send>;

/// A running server.
#[derive(Clone)]
pub(crate) struct Host {
    world: Arc<TestWorld>,
    /// The address at which requests get the token.
    address: SocketAddr,
    /// The address at which they do not.
    door: SocketAddr,
    gate: Arc<Gate>,
    /// The store to which the server writes: it has an event of each change.
    store: Arc<dyn RunStore>,
    runtime: Arc<tokio::runtime::Runtime>,
}

/// Counts the requests for screens, and says what happens with them.
#[derive(Default)]
struct Gate {
    refuses: AtomicBool,
    streams: AtomicBool,
    asked: AtomicUsize,
    followers: AtomicUsize,
    action: Mutex<Option<(usize, Action, Option<Host>)>>,
}

impl Host {
    /// Starts a server over a world with so many waiting runs.
    pub(crate) fn with_runs(count: i64) -> Self {
        let world = TestWorld::on_system_clock();
        world.state().waiting = Some(Vec::new());
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
        let gate = Arc::<Gate>::default();
        let parts = Parts::over(settings(), world.ports(), "page");
        let app = App::new(
            &parts,
            Arc::new(PollSignal::default()),
            Role::All,
            Some(([127, 0, 0, 1], 8081).into()),
        );
        let bare = everything(&app, Deadlines::default());
        let door = serve(&runtime, bare.clone());
        let screens = bare.layer(middleware::from_fn_with_state(gate.clone(), pass));
        let others = Router::new().route("/measure", get(measure)).route("/attack", get(attack));
        let address = serve(&runtime, screens.merge(others));
        let store = parts.controller.ports().store.clone();
        let host = Self { world, address, door, gate, store, runtime: Arc::new(runtime) };
        for id in 1..=count {
            host.add(id, &format!("build ({id})"));
        }
        host
    }

    /// Starts a server over a world that has something for every screen: drift, a job that runs, one
    /// that is done, a machine, two classes of which one is paused.
    pub(crate) fn furnished() -> Self {
        let host = Self::with_runs(3);
        host.add(4, "test (unit)");
        host.add(5, "test (done)");
        let now = Timestamp::now();
        let ago = |seconds| now - SignedDuration::from_secs(seconds);
        let mut state = host.world.state();
        let attempt_id = state.runs[&RunName::job(4)].attempt_id(1);
        let machine = make_machine(attempt_id, ago(50), now);
        let steps = |last: Option<Happened>, id: &MachineId| {
            let launched = Happened::Launched { attempt: 1, machine: id.clone() };
            let picked =
                Happened::Started { runner: String::new(), attempt: Some(1), job_attempt: None };
            let all = [Happened::Seen { by: SeenBy::Webhook }, Happened::Registered { attempt: 1 }];
            let all = all.into_iter().chain([launched, picked]).chain(last);
            let at = [ago(56), ago(55), ago(50), ago(20), ago(2)];
            at.into_iter().zip(all).map(|(at, what)| Milestone::new(at, what)).collect::<Vec<_>>()
        };
        let done = Happened::Finished { outcome: Outcome::Succeeded };
        for (id, phase, last) in [(4, Phase::Running, None), (5, Phase::Finished, Some(done))] {
            let run = state.runs.get_mut(&RunName::job(id)).expect("it was added");
            run.status.phase = phase;
            run.status.outcome = last.is_some().then_some(Outcome::Succeeded);
            run.status.waiting_since = ago(56);
            run.status.timeline = steps(last, &machine.id);
        }
        state.machines.push(machine);
        drop(state);
        for path in ["/v1/classes/arm/pause", "/v1/sweep"] {
            let head = format!("POST {path} HTTP/1.1\r\nauthorization: Bearer {OPERATES}\r\n");
            exchange(host.door, &head);
        }
        host
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the address of a screen that asks who reads it.
    pub(crate) fn door(&self, path: &str) -> String {
        format!("http://{}{path}", self.door)
    }

    /// Returns the address of a page at another port that sends a form to this path.
    pub(crate) fn attack(&self, path: &str) -> String {
        self.url(&format!("/attack?action={}", self.door(path)))
    }

    /// Returns an address that signs in once.
    pub(crate) fn one_time_address(&self, token: &str) -> String {
        let answer = exchange(
            self.door,
            &format!("POST /v1/sign-in HTTP/1.1\r\nauthorization: Bearer {token}\r\n"),
        );
        let body = answer.split("\r\n\r\n").nth(1).expect("a body");
        let made: serde_json::Value = serde_json::from_str(body).expect("JSON");
        self.door(made["path"].as_str().expect("a path"))
    }

    pub(crate) fn world(&self) -> &TestWorld {
        &self.world
    }

    /// Puts a run of a waiting job, as another replica does: this one has no event of it.
    pub(crate) fn add(&self, id: i64, job: &str) {
        let at = Timestamp::now() - SignedDuration::from_secs(2_000 - id);
        self.world.add_run(waiting(id, job, at));
    }

    /// Writes a run of a waiting job, as this server does: it has an event of it. Not for a thread
    /// of the server.
    pub(crate) fn write(&self, id: i64, job: &str) {
        let run = waiting(id, job, Timestamp::now());
        let version = self.runtime.block_on(self.store.put(&run, Expect::Absent)).expect("written");
        assert_eq!(version, 1, "job-{id}");
    }

    /// Lets pages follow events. Not for [`crate::browser::Browser::dom`]: the browser's own time
    /// stands still while a stream is open.
    pub(crate) fn stream(&self) {
        self.gate.streams.store(true, Ordering::SeqCst);
    }

    /// Returns how often somebody began to follow events.
    pub(crate) fn followers(&self) -> usize {
        self.gate.followers.load(Ordering::SeqCst)
    }

    /// Returns how often a screen was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.gate.asked.load(Ordering::SeqCst)
    }

    /// Does something before the request of this number, counted from 1, is answered.
    pub(crate) fn when_asked(&self, number: usize, action: impl FnOnce(&Host) + Send + 'static) {
        *self.gate.action.lock() = Some((number, Box::new(action), Some(self.clone())));
    }

    /// Refuses all further requests.
    pub(crate) fn refuse(&self) {
        self.gate.refuses.store(true, Ordering::SeqCst);
    }

    /// Returns a screen without a browser.
    pub(crate) fn fetch(&self, path: &str) -> String {
        exchange(self.address, &format!("GET {path} HTTP/1.1\r\naccept: text/html\r\n"))
    }
}

/// Returns a run of a waiting job.
fn waiting(id: i64, job: &str, at: Timestamp) -> Run {
    let about = About { repo: "acme/web".to_owned(), job: job.to_owned(), ..About::default() };
    let spec = Spec {
        job: JobRef { repo: "acme/web".to_owned(), repo_id: 1, job_id: id },
        runs_on: vec!["linux".to_owned()],
        about,
        ..Spec::default()
    };
    Run::new("acme", RunName::job(id), spec, SeenBy::Webhook, at)
}

fn make_machine(attempt_id: AttemptId, launched_at: Timestamp, now: Timestamp) -> Machine {
    Machine {
        id: MachineId("i-0f3c21".to_owned()),
        attempt_id,
        placement: 0,
        state: MachineState::Up,
        launched_at,
        deadline: now + SignedDuration::from_hours(5),
        registration: 5,
        repo_id: 1,
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class: ClassName("linux".to_owned()),
        kind: "c7a.medium".to_owned(),
        zone: "eu-west-1b".to_owned(),
        market: Market::Spot,
        promise: None,
    }
}

/// Sends the first lines of a head, and returns the answer.
fn exchange(to: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(to).expect("it listens");
    let head = format!("{head}host: {to}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    text
}

/// Serves these routes at a port of loopback.
fn serve(runtime: &tokio::runtime::Runtime, routes: Router) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let address = listener.local_addr().expect("bound");
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        axum::serve(listener, routes).await
    });
    address
}

/// Adds the token to requests, counts those for screens, and refuses them once told to.
async fn pass(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let token = HeaderValue::from_str(&format!("Bearer {READS}")).expect("a value");
    request.headers_mut().insert(header::AUTHORIZATION, token);
    if request.uri().path() == "/v1/events" {
        // The script then polls.
        if !gate.streams.load(Ordering::SeqCst) {
            return StatusCode::NOT_FOUND.into_response();
        }
        gate.followers.fetch_add(1, Ordering::SeqCst);
        return next.run(request).await;
    }
    let is_screen = ["/", "/runs"].contains(&request.uri().path());
    if is_screen {
        let number = gate.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let due = gate.action.lock().take_if(|(due, _, _)| *due == number);
        if let Some((_, action, Some(host))) = due {
            action(&host);
        }
    }
    if gate.refuses.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    next.run(request).await
}

#[derive(Deserialize)]
struct Attack {
    action: String,
}

/// A page that sends a form elsewhere, as soon as it is loaded.
async fn attack(Query(Attack { action }): Query<Attack>) -> Html<String> {
    Html(format!(
        "<!DOCTYPE html><body><form method=post action='{action}'></form>\
         <script>document.forms[0].submit()</script></body>"
    ))
}

#[derive(Deserialize)]
struct Measure {
    path: String,
    width: u32,
}

/// A page that shows another one in a frame, and writes how wide that is. The frame is allowed here
/// only because both are of one origin and the policy of the screen is left out.
async fn measure(Query(Measure { path, width }): Query<Measure>) -> Html<String> {
    Html(format!(
        "<!DOCTYPE html><body><script>\
         fetch('{path}',{{headers:{{accept:'text/html'}}}}).then(a=>a.text()).then(text=>{{\
         const frame=document.createElement('iframe');frame.style='border:0;width:{width}px;height:800px';\
         frame.onload=()=>{{const root=frame.contentDocument.documentElement;\
         document.body.append('measured '+frame.clientWidth+' '+root.scrollWidth+' end')}};\
         frame.srcdoc=text;document.body.append(frame)}})</script></body>"
    ))
}

fn settings() -> Settings {
    Settings {
        installation: "acme".to_owned(),
        forge: Config {
            url: "http://127.0.0.1:1".to_owned(),
            machine_url: None,
            token: None,
            runner_token: None,
            webhook_secret: None,
            git_token: None,
            demand: Demand::Jobs,
            scope: Scope::All,
            register_in: RegisterIn::Repository,
            poll_every: SignedDuration::from_secs(10),
            sweep_every: SignedDuration::from_secs(60),
        },
        store: StoreUrl::Memory,
        queue: QueueUrl::Memory,
        compute: ComputeUrl::Process("unused".into()),
        process: ProcessUser::default(),
        launches: LaunchRate::default(),
        server: Server {
            webhooks: SocketAddr::from(([127, 0, 0, 1], 0)),
            api: SocketAddr::from(([127, 0, 0, 1], 0)),
            metrics: None,
            tls: None,
            hosts: Vec::new(),
            event_clients: 256,
            tokens: vec![token("page", READS, Right::Read), token("ops", OPERATES, Right::Operate)],
            own_token: None,
            webhook_secrets: Vec::new(),
            log: None,
            emf: false,
        },
        prices: std::collections::BTreeMap::new(),
        classes: ["linux", "arm"].map(|name| make::class(name, vec![make::process()])).into(),
    }
}
