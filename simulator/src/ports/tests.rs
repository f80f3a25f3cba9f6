use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    AttemptId, ClassName, Job, JobRef, Phase, Registrations, RepoRef, Run, RunName, SeatLimits,
    SeenBy, Spec,
};
use tinqs_ci_reconciler::ports::{
    ErrorKind, Expect, Filter, Forge as _, Queue as _, RunStore as _,
};

use super::SimulatedPorts;
use crate::clock::{AcceleratedClock, Virtual};
use crate::forge::{self, Forge, JobSpec, Line};
use crate::world::{Shared, World, forge_of};

fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn live() -> (SimulatedPorts, Shared, Virtual) {
    let clock = Virtual::starting_at(start());
    let world = World::new(1, Arc::new(clock.clone()), forge_of(Line::V1_27));
    let shared = Arc::new(parking_lot::Mutex::new(world));
    (SimulatedPorts::live(shared.clone()), shared, clock)
}

fn a_run(job_id: i64, at: Timestamp) -> Run {
    let job = JobRef { repo: "acme/widget".to_owned(), repo_id: 1, job_id };
    let spec = Spec { job, runs_on: vec!["linux".to_owned()], ..Spec::default() };
    Run::new("test", RunName::job(job_id), spec, SeenBy::Poll, at)
}

fn attempt_id(job_id: i64) -> AttemptId {
    a_run(job_id, start()).attempt_id(1)
}

#[tokio::test]
async fn a_record_is_written_only_if_it_matches_the_expectation() {
    let (simulated_ports, _, _) = live();
    let run = a_run(1, start());
    assert_eq!(simulated_ports.put(&run, Expect::Absent).await.unwrap(), 1);
    let again = simulated_ports.put(&run, Expect::Absent).await.unwrap_err();
    assert_eq!((again.kind, again.port, again.operation), (ErrorKind::Conflict, "store", "put"));
    assert_eq!(simulated_ports.put(&run, Expect::At(run.uid, 1)).await.unwrap(), 2);
    let stale = simulated_ports.put(&run, Expect::At(run.uid, 1)).await.unwrap_err();
    assert_eq!(stale.kind, ErrorKind::Conflict);
    let other = a_run(1, start() + SignedDuration::from_secs(1));
    let of_other = simulated_ports.put(&other, Expect::At(other.uid, 2)).await.unwrap_err();
    assert_eq!(of_other.kind, ErrorKind::Conflict);
    let stale = simulated_ports.remove(&run.name, run.uid, 1).await.unwrap_err();
    assert_eq!(stale.kind, ErrorKind::Conflict);
    simulated_ports.remove(&run.name, run.uid, 2).await.unwrap();
    simulated_ports.remove(&run.name, run.uid, 2).await.unwrap();
    assert_eq!(simulated_ports.get(&run.name).await.unwrap(), None);
}

#[tokio::test]
async fn pages_are_newest_first_and_continue_at_the_cursor() {
    let (simulated_ports, _, _) = live();
    for n in 1..=5 {
        let run = a_run(n, start() + SignedDuration::from_secs(n));
        simulated_ports.put(&run, Expect::Absent).await.unwrap();
    }
    let filter = Filter { limit: 2, ..Filter::default() };
    let mut names = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = simulated_ports.page(&filter, after.as_deref()).await.unwrap();
        names.extend(page.items.iter().map(|run| run.name.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["job-5", "job-4", "job-3", "job-2", "job-1"]);
    assert_eq!(
        simulated_ports.page(&filter, Some("x")).await.unwrap_err().kind,
        ErrorKind::Invalid
    );
    let none = Filter { phase: Some(Phase::Finished), ..filter };
    assert!(simulated_ports.page(&none, None).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn finished_runs_are_listed_only_once_due() {
    let (simulated_ports, _, _) = live();
    let mut run = a_run(1, start());
    run.status.phase = Phase::Finished;
    run.status.due = start() + SignedDuration::from_secs(60);
    simulated_ports.put(&run, Expect::Absent).await.unwrap();
    assert!(simulated_ports.open(start()).await.unwrap().is_empty());
    let open = simulated_ports.open(start() + SignedDuration::from_secs(60)).await.unwrap();
    assert_eq!(open.len(), 1);
}

#[tokio::test]
async fn seats_respect_both_limits() {
    let (simulated_ports, _, _) = live();
    let class = ClassName("linux".to_owned());
    let limits = SeatLimits { class: Some(2), repo: Some(1), owner: None };
    let take = |n: i64, repo: &'static str| {
        let (simulated_ports, class) = (simulated_ports.clone(), class.clone());
        async move {
            simulated_ports
                .seat(&class, &attempt_id(n), RepoRef::named(repo), limits)
                .await
                .unwrap()
        }
    };
    assert!(take(1, "a/a").await && take(1, "a/a").await);
    assert!(!take(2, "a/a").await);
    assert!(take(3, "b/b").await);
    assert!(!take(4, "c/c").await);
    simulated_ports.unseat(&class, &attempt_id(1)).await.unwrap();
    simulated_ports.unseat(&class, &attempt_id(1)).await.unwrap();
    assert!(take(4, "c/c").await);
    assert_eq!(simulated_ports.seats(&class).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_lease_belongs_to_its_holder_until_it_expires() {
    let (simulated_ports, _, _) = live();
    let ttl = SignedDuration::from_secs(30);
    let later = start() + ttl;
    assert!(simulated_ports.lease("sweep", "a", start(), ttl).await.unwrap());
    assert!(simulated_ports.lease("sweep", "a", start(), ttl).await.unwrap());
    assert!(!simulated_ports.lease("sweep", "b", start(), ttl).await.unwrap());
    assert!(simulated_ports.lease("sweep", "b", later, ttl).await.unwrap());
}

#[tokio::test]
async fn a_wake_up_is_delivered_until_it_is_acknowledged() {
    let (simulated_ports, world, clock) = live();
    let name = RunName::job(1);
    simulated_ports.wake(&name).await.unwrap();
    let first = simulated_ports.next(10).await.unwrap();
    assert_eq!(first.len(), 1);
    assert!(simulated_ports.next(10).await.unwrap().is_empty());
    clock.set(start() + SignedDuration::from_secs(100));
    let again = simulated_ports.next(10).await.unwrap();
    assert_eq!(again.len(), 1);
    simulated_ports.done(again[0].clone()).await.unwrap();
    assert!(world.lock().wakes.is_empty());
}

#[tokio::test]
async fn a_wake_up_wakes_a_waiting_consumer() {
    let (simulated_ports, _, _) = live();
    let waiting = tokio::spawn({
        let simulated_ports = simulated_ports.clone();
        async move {
            loop {
                let deliveries = simulated_ports.next(10).await.unwrap();
                if !deliveries.is_empty() {
                    return deliveries;
                }
            }
        }
    });
    simulated_ports.wake(&RunName::job(7)).await.unwrap();
    let within = std::time::Duration::from_secs(10);
    let deliveries = tokio::time::timeout(within, waiting).await.unwrap().unwrap();
    assert_eq!(deliveries[0].name, RunName::job(7));
}

#[tokio::test]
async fn the_forge_port_shows_jobs_and_registrations() {
    let (simulated_ports, world, _) = live();
    let jobs = [JobSpec::new("build", &["linux"])];
    let id = world.lock().forge().push(start(), "acme/widget", &jobs)[0];
    let waiting = simulated_ports.waiting().await.unwrap().unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(simulated_ports.job(&waiting[0].job).await.unwrap().state, Job::Waiting);
    let unknown = JobRef { job_id: id + 1, ..waiting[0].job.clone() };
    assert_eq!(simulated_ports.job(&unknown).await.unwrap().state, Job::Absent);
    let repo = RepoRef { id: waiting[0].job.repo_id, name: "acme/widget" };
    let runner =
        simulated_ports.register(&attempt_id(id), repo, &["linux:host".to_owned()]).await.unwrap();
    world.lock().forge().register(start(), "somebody else's", &[], false);
    let Registrations::Seen(rows) = simulated_ports.registrations(0).await.unwrap() else {
        panic!("the list is known")
    };
    assert_eq!(rows.iter().map(|r| r.id).collect::<Vec<_>>(), [runner.id]);
    simulated_ports.retire(runner.id, 0).await.unwrap();
    simulated_ports.retire(runner.id, 0).await.unwrap();
    assert_eq!(simulated_ports.registration(runner.id, 0).await.unwrap(), None);
    assert!(world.lock().laws.violations().is_empty());
}

#[tokio::test]
async fn a_live_world_advances_on_each_call() {
    let clock = Arc::new(AcceleratedClock::new(start(), 1000));
    let forge = Arc::new(parking_lot::Mutex::new(Forge::new(forge::Config::default())));
    let world: Shared = Arc::new(parking_lot::Mutex::new(World::new(1, clock, forge)));
    let simulated_ports = SimulatedPorts::live(world.clone());
    simulated_ports.wake(&RunName::job(1)).await.unwrap();
    assert_eq!(simulated_ports.next(1).await.unwrap().len(), 1);
    assert!(world.lock().laws.violations().is_empty());
}
