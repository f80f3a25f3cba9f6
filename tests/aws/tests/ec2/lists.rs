//! Lists of machines: every page, those that ended, and those that a list does not show.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_aws::ec2::Machines;
use tinqs_ci_aws::events::Owners as _;
use tinqs_ci_reconciler::model::{EndedBy, MachineState, RunName};
use tinqs_ci_reconciler::ports::{Clock, Compute as _, ErrorKind};
use tinqs_ci_simulator::aws_wire::{Kind, When};
use tinqs_ci_testing::make::at_once;

use crate::cloud::{INSTALLATION, UNPACED, ask, clients, is_clean, machines, wire};
use crate::rule;

/// Lists more machines than fit on a page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_every_page_or_fails() {
    let wire = wire(|options| {
        for subnet in &mut options.account.subnets {
            subnet.addresses = 5_000;
        }
    });
    let machines = machines(&wire, UNPACED).await;
    // The filter excludes foreign instances, of which there may be thousands.
    for _ in 0..300 {
        wire.add_foreign(BTreeMap::from([("Name".to_owned(), "web".to_owned())])).unwrap();
    }
    let all: Vec<_> = (1..=1_100).map(ask).collect();
    for some in all.chunks(100) {
        let launches =
            some.iter().map(|(attempt_id, attempt)| machines.launch(attempt_id, 0, attempt));
        for answer in at_once(launches.collect()).await {
            answer.unwrap();
        }
    }
    let listed = machines.list().await.unwrap();
    let mut names: Vec<&RunName> = listed.iter().map(|machine| &machine.attempt_id.run).collect();
    names.sort();
    names.dedup();
    assert_eq!((listed.len(), names.len()), (1_100, 1_100));
    assert_eq!(wire.ledger().count("DescribeInstances"), 2);
    rule(&wire, "DescribeInstances", When::Always, Kind::PageError(2));
    let error = machines.list().await.expect_err("a partial list is an error");
    assert!(matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Invalid), "{error}");
    is_clean(&wire);
}

/// A clock moved by the test.
#[derive(Default)]
pub(super) struct Moved(pub(super) AtomicI64);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_machine_stays_listed_and_is_described_once() {
    let wire = wire(|_| {});
    let clock = Arc::new(Moved::default());
    let clients = clients(&wire.url()).await;
    let here = Machines::new(clients.clone(), INSTALLATION, clock.clone(), UNPACED);
    let there = Machines::new(clients, INSTALLATION, clock.clone(), UNPACED);
    let mut ids = Vec::new();
    for id in 1..=5 {
        let (attempt_id, attempt) = ask(id);
        ids.push(here.launch(&attempt_id, 0, &attempt).await.unwrap().id);
    }
    let listed = async || {
        let before = wire.ledger().count("DescribeInstances");
        let machines = here.list().await.unwrap();
        let gone = machines.iter().filter(|m| m.state == MachineState::Gone);
        let gone: Vec<_> = gone.map(|m| (m.id.clone(), m.ended_by)).collect();
        let rows: Vec<usize> =
            wire.ledger().of("DescribeInstances").skip(before).map(|call| call.items).collect();
        (machines.len(), gone, rows)
    };
    assert_eq!(listed().await, (5, vec![], vec![5]));
    wire.power_off(&ids[0]);
    let gone = vec![(ids[0].clone(), Some(EndedBy::Itself))];
    assert_eq!(listed().await, (5, gone.clone(), vec![4, 1]), "the missing machine is described");
    assert_eq!(listed().await, (5, gone.clone(), vec![4]), "and only once");
    // Machines of another process, even terminated ones, appear within a minute.
    let (attempt_id, attempt) = ask(6);
    let brief = there.launch(&attempt_id, 0, &attempt).await.unwrap().id;
    wire.power_off(&brief);
    assert_eq!(listed().await, (5, gone.clone(), vec![4]));
    clock.0.fetch_add(60, Ordering::SeqCst);
    let both = [gone, vec![(brief, Some(EndedBy::Itself))]].concat();
    assert_eq!(listed().await, (6, both, vec![6]));
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_missing_from_a_list_is_described() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    for id in 1..=3 {
        let (attempt_id, attempt) = ask(id);
        machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    }
    assert_eq!(machines.list().await.unwrap().len(), 3);
    rule(&wire, "DescribeInstances", When::First(1), Kind::Omit);
    let listed = machines.list().await.unwrap();
    assert_eq!(listed.iter().filter(|machine| machine.is_live()).count(), 3);
    is_clean(&wire);
}

/// An event names a machine that another process launched and that ended between two lists here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_ended_before_a_list_showed_it_is_listed_once_it_was_looked_up() {
    let wire = wire(|_| {});
    let (here, there) = (machines(&wire, UNPACED).await, machines(&wire, UNPACED).await);
    assert!(here.list().await.unwrap().is_empty());
    let (attempt_id, attempt) = ask(1);
    let brief = there.launch(&attempt_id, 0, &attempt).await.unwrap().id;
    wire.power_off(&brief);
    assert!(here.list().await.unwrap().is_empty(), "it has ended, and was never listed here");
    let run = here.runs_of(std::slice::from_ref(&brief)).await.remove(0).unwrap();
    assert_eq!(run, Some(attempt_id.run));
    let listed = here.list().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|machine| (&machine.id, machine.state)).collect();
    assert_eq!(listed, [(&brief, MachineState::Gone)]);
    is_clean(&wire);
}

/// The same if it was up when it was looked up, and ended after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_was_looked_up_is_described_once_a_list_does_not_show_it() {
    let wire = wire(|_| {});
    let (here, there) = (machines(&wire, UNPACED).await, machines(&wire, UNPACED).await);
    assert!(here.list().await.unwrap().is_empty());
    let (attempt_id, attempt) = ask(1);
    let brief = there.launch(&attempt_id, 0, &attempt).await.unwrap().id;
    assert!(here.find(&brief).await.unwrap().unwrap().is_live());
    wire.power_off(&brief);
    let listed = here.list().await.unwrap();
    assert_eq!(listed.iter().map(|m| m.state).collect::<Vec<_>>(), [MachineState::Gone]);
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_list_that_hides_a_new_machine_does_not_forget_it() {
    let wire = wire(|options| options.list_lag = SignedDuration::from_hours(1));
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = ask(1);
    let hidden = machines.launch(&attempt_id, 0, &attempt).await.unwrap().id;
    assert!(machines.list().await.unwrap().is_empty(), "the whole list, which lags");
    wire.cloud(|cloud| cloud.config.list_lag = SignedDuration::ZERO);
    wire.power_off(&hidden);
    let listed = machines.list().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|machine| (&machine.id, machine.state)).collect();
    assert_eq!(listed, [(&hidden, MachineState::Gone)]);
    is_clean(&wire);
}
