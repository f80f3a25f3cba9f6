//! Traces of the real binary, which a collector on loopback receives. Run with
//! `cargo test --features otlp --test otlp`.

mod collector;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use tinqs_ci_reconciler::model::Conclusion;
use tinqs_ci_simulator::forge::Status;
use tinqs_ci_test_host::{Host, OWN_TOKEN, Options, SECRET, TOKEN, free_port};
use tokio::net::TcpListener;

use collector::{Collector, Span};

/// The value of a header for the collector, which is a credential.
const KEY: &str = "collector-key";
const SUCCESS: Status = Status::Done(Conclusion::Success);

/// Returns a host whose server has these variables.
fn host(variables: &[(&'static str, &str)]) -> Host {
    let mut host = Host::new(env!("CARGO_BIN_EXE_tinqs-ci"), &Options::default());
    host.variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    host
}

/// Plays a job and returns its ID, and the tokens of the runners that were registered meanwhile.
async fn play(host: &Host) -> (i64, BTreeSet<String>) {
    // It lasts until its runner was seen.
    let job = host.push(1, &["linux"], "sleep 2")[0];
    let mut tokens = BTreeSet::new();
    host.until("the job is done", 90, async |host| {
        let registered = host.forge().runners().map(|row| row.token.clone()).collect::<Vec<_>>();
        tokens.extend(registered);
        host.status(job) == SUCCESS
    })
    .await;
    assert!(!tokens.is_empty(), "no runner was seen");
    host.rests(90).await;
    (job, tokens)
}

/// Returns the complete lines of the server's log.
fn log(host: &Host) -> Vec<Value> {
    let log = fs::read_to_string(host.log()).expect("a log");
    let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// Returns how many lines of the log have this message.
fn told(host: &Host, message: &str) -> usize {
    log(host).iter().filter(|line| line["message"] == message).count()
}

/// Stops the server, in which nothing may have panicked.
async fn stop(host: &mut Host) {
    host.stop().await;
    assert_eq!(told(host, "panicked: a bug, please report it"), 0);
}

/// The spans by ID, and who is below whom.
struct Tree(BTreeMap<String, Span>);

impl Tree {
    fn of(spans: Vec<Span>) -> Self {
        let count = spans.len();
        let tree: BTreeMap<String, Span> =
            spans.into_iter().map(|span| (span.id.clone(), span)).collect();
        assert_eq!(tree.len(), count, "an ID is that of one span");
        Self(tree)
    }

    fn roots(&self, name: &str) -> impl Iterator<Item = &Span> {
        self.0.values().filter(move |span| span.parent.is_empty() && span.name == name)
    }

    fn below(&self, span: &Span) -> impl Iterator<Item = &Span> {
        self.0.values().filter(|other| other.parent == span.id)
    }

    /// The names of the spans on the way from the root to each span.
    fn paths(&self) -> BTreeSet<String> {
        let path = |span: &Span| {
            let mut names = vec![span.name.clone()];
            let mut parent = self.0.get(&span.parent);
            while let Some(span) = parent {
                names.push(span.name.clone());
                parent = self.0.get(&span.parent);
            }
            names.reverse();
            names.join("/")
        };
        self.0.values().map(path).collect()
    }

    fn check_parents(&self) {
        for span in self.0.values().filter(|span| !span.parent.is_empty()) {
            let parent = self.0.get(&span.parent).unwrap_or_else(|| panic!("orphan: {span:?}"));
            assert_eq!(parent.trace, span.trace, "{span:?}");
            assert!(parent.times.0 <= span.times.0, "{span:?} begins before {parent:?}");
            assert!(parent.times.1 >= span.times.1, "{span:?} ends after {parent:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_a_tree_of_spans_without_secrets() {
    let collector = Collector::start().await;
    let mut host = host(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
        ("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-key={KEY}")),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        // So that most spans are sent at the end.
        ("OTEL_BSP_SCHEDULE_DELAY", "60000"),
    ]);
    host.start().await;
    let (job, mut secrets) = play(&host).await;
    // From now on each call of the forge fails.
    host.wire.tokens(Vec::new());
    host.until("the forge fails", 30, async |host| told(host, "service fails, will retry") > 0)
        .await;
    stop(&mut host).await;

    let requests = collector.received();
    assert!(!requests.is_empty(), "nothing was sent");
    for request in &requests {
        assert_eq!(request.path, "/v1/traces");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        assert_eq!(request.headers["x-key"], KEY);
    }
    let tree = Tree::of(collector.spans());
    tree.check_parents();
    check_paths(&tree.paths());
    check_job(&tree, job);
    let refused = tree.0.values().find(|span| span.name == "forge waiting" && span.error.is_some());
    let refused = refused.expect("a failed call has a status");
    assert!(refused.is("error_kind", "denied"), "{refused:?}");
    assert!(refused.error.as_ref().is_some_and(|error| error.contains("denied")), "{refused:?}");
    for span in tree.0.values() {
        assert_eq!(span.resource["service.name"], "tinqs-ci", "{span:?}");
        assert_eq!(span.resource["service.version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(span.resource["deployment.environment.name"], "test");
        assert!(!span.resource["service.instance.id"].is_empty());
    }

    secrets.extend([TOKEN, SECRET, OWN_TOKEN, KEY].map(str::to_owned));
    for secret in secrets {
        let body = |request: &collector::Received| {
            request.body.windows(secret.len()).any(|part| part == secret.as_bytes())
        };
        assert!(!requests.iter().any(body), "a span has a secret");
    }
    host.assert_no_secret_told();
    check_log(&host, &tree);
}

/// Every span is in one of the places that the manual lists.
fn check_paths(paths: &BTreeSet<String>) {
    for expected in [
        "ingest/store put",
        "ingest/queue wake",
        "reconcile/observe/store get",
        "reconcile/observe/compute list",
        "reconcile/observe/forge job",
        "reconcile/plan",
        "reconcile/act/forge register",
        "reconcile/act/store put",
        "reconcile/act/compute launch",
        "demand/forge waiting",
        "sweep/store open",
    ] {
        assert!(paths.contains(expected), "{expected} is missing: {paths:#?}");
    }
    for path in paths {
        let steps: Vec<&str> = path.split('/').collect();
        let is_call = |name: &str| name.split_once(' ').is_some();
        let is_known = match steps.as_slice() {
            ["ingest" | "reconcile" | "demand" | "sweep"]
            | ["reconcile", "observe" | "plan" | "act"] => true,
            ["ingest" | "demand" | "sweep", call] | ["reconcile", "observe" | "act", call] => {
                is_call(call)
            }
            _ => false,
        };
        assert!(is_known, "{path}");
    }
}

/// The reconcile that launched the machine, and what woke it.
fn check_job(tree: &Tree, job: i64) {
    let run = format!("job-{job}");
    let mut ingests = tree.roots("ingest").filter(|span| span.is("run", &run));
    let announced = ingests.next().expect("a webhook announced the job");
    assert!(announced.is("event", "workflow_job") && announced.is("outcome", "accepted"));
    let launching = |span: &&Span| {
        tree.below(span).any(|act| tree.below(act).any(|call| call.name == "compute launch"))
    };
    let launched: Vec<&Span> = tree.roots("reconcile").filter(launching).collect();
    let [launched] = launched[..] else { panic!("one reconcile launches: {launched:?}") };
    for (attribute, value) in [("run", run.as_str()), ("class", "linux"), ("outcome", "acted")] {
        assert!(launched.is(attribute, value), "{launched:?}");
    }
    assert!(launched.attributes["attempt_id"].starts_with(&format!("tq-{run}-")), "{launched:?}");
    assert!(launched.attributes["action"].contains("launch"), "{launched:?}");
    assert_eq!(launched.error, None);
    let woken_by: Vec<&str> =
        launched.links.iter().filter_map(|id| Some(tree.0.get(id)?.name.as_str())).collect();
    assert!(matches!(woken_by[..], ["ingest" | "demand"]), "{woken_by:?}");
    let phases: Vec<&Span> = tree.below(launched).collect();
    let observe = phases.iter().find(|span| span.name == "observe").expect("it observed");
    let later = phases.iter().filter(|span| span.name != "observe");
    let mut names = BTreeSet::new();
    for phase in later {
        assert!(phase.times.0 >= observe.times.1, "{phase:?} begins within {observe:?}");
        assert!(phase.name == "act" || phase.attributes.contains_key("rule"), "{phase:?}");
        names.insert(phase.name.as_str());
    }
    assert_eq!(names, BTreeSet::from(["act", "plan"]));
}

/// Lines of the log name the span that they belong to.
fn check_log(host: &Host, tree: &Tree) {
    let lines = log(host);
    let reconciled: Vec<&Value> =
        lines.iter().filter(|line| line["message"] == "reconciled run").collect();
    assert!(!reconciled.is_empty());
    for line in reconciled {
        let span = line["span_id"].as_str().and_then(|id| tree.0.get(id)).expect("a span");
        assert_eq!(
            (span.name.as_str(), line["trace_id"].as_str()),
            ("reconcile", Some(&*span.trace))
        );
        assert_eq!(line["run"].as_str(), span.attributes.get("run").map(String::as_str));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_do_not_wait_for_a_collector_that_is_away() {
    let port = free_port();
    let url = format!("http://user:{KEY}@127.0.0.1:{port}");
    let mut host =
        host(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("OTEL_BSP_SCHEDULE_DELAY", "100")]);
    host.start().await;
    play(&host).await;
    assert_eq!(told(&host, "cannot send traces, they are dropped"), 1);
    // It gets what happens from now on.
    let collector = Collector::at(port).await.expect("the port is free");
    host.until("the collector is found", 30, async |host| {
        told(host, "the collector takes traces again") == 1
    })
    .await;
    assert_eq!(told(&host, "cannot send traces, they are dropped"), 1);
    stop(&mut host).await;
    assert!(!collector.spans().is_empty());
    let log = fs::read_to_string(host.log()).expect("a log");
    assert!(!log.contains(KEY), "the log has the credential of the address");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_delays_nothing() {
    // Connections are accepted by the system, and nobody reads them.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let mut host =
        host(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("OTEL_BSP_SCHEDULE_DELAY", "100")]);
    host.start().await;
    play(&host).await;
    // Within ten seconds.
    stop(&mut host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_unless_an_endpoint_says_so() {
    // The default of the exporter; another process may have the port.
    let default = Collector::at(4318).await.ok();
    let collector = Collector::start().await;
    for variables in [
        &[][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url), ("OTEL_SDK_DISABLED", "true")],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url), ("OTEL_TRACES_EXPORTER", "none")],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ],
    ] {
        let mut host = host(variables);
        host.start().await;
        stop(&mut host).await;
        assert_eq!(told(&host, "sending traces"), 0, "{variables:?}");
        let refused = usize::from(variables.iter().any(|(name, _)| name.ends_with("_PROTOCOL")));
        assert_eq!(told(&host, "no traces are sent"), refused, "{variables:?}");
    }
    assert_eq!(collector.received().len(), 0);
    assert_eq!(default.map_or(0, |collector| collector.received().len()), 0);
}
