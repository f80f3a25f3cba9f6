use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Boot, ClassName, Conclusion, EndedBy, MachineOptions, MachineSpec,
    MachineState, Market, Placement, RunName, Runner, Secret, Uid,
};
use tinqs_ci_reconciler::ports::ErrorKind;

use super::admission::{Ask, Stock};
use super::machine::MachineOutcome;
use super::{Cloud, Config, Launch};
use crate::forge::{self, Forge, JobSpec, Status};

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn spec() -> MachineSpec {
    MachineSpec {
        kind: "t3.small".to_owned(),
        subnet: "subnet-a".to_owned(),
        market: Market::Spot,
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    }
}

struct Place {
    cloud: Cloud,
    forge: Forge,
    attempt_id: AttemptId,
    attempt: Attempt,
}

fn place() -> Place {
    let name = RunName::job(1);
    let uid = Uid::new("test", &name, at(0)).short();
    let attempt_id = AttemptId { run: name, uid, number: 1 };
    let mut forge = Forge::new(forge::Config::default());
    let row = forge.register(at(0), &attempt_id.to_string(), &["linux".to_owned()], true);
    let attempt = Attempt {
        number: 1,
        decided_at: at(0),
        class: ClassName("linux".to_owned()),
        runner: Runner {
            repo_id: 0,
            id: row.id,
            uuid: row.uuid,
            name: row.name,
            labels: vec!["linux:host".to_owned()],
            token: Secret::new(row.token),
        },
        boot: Boot {
            deadline: at(3600),
            idle_within: SignedDuration::from_mins(2),
            start_by: None,
            hold: SignedDuration::ZERO,
            instance_url: String::new(),
            git_token: None,
        },
        placements: vec![Placement::new(spec())],
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    };
    Place { cloud: Cloud::new(Config::default()), forge, attempt_id, attempt }
}

impl Place {
    fn launch(
        &mut self,
        now: Timestamp,
        outcome: MachineOutcome,
    ) -> Result<tinqs_ci_reconciler::model::Machine, super::Refused> {
        let ask = Launch { attempt_id: &self.attempt_id, placement: 0, attempt: &self.attempt };
        self.cloud.launch(now, ask, outcome)
    }

    fn state(&self, now: Timestamp) -> Option<MachineState> {
        self.cloud.list(now).first().map(|m| m.state)
    }
}

#[test]
fn a_token_always_returns_its_machine_and_refuses_a_different_request() {
    let mut place = place();
    let first = place.launch(at(0), MachineOutcome::default()).unwrap();
    let again = place.launch(at(1), MachineOutcome::default()).unwrap();
    assert_eq!(first.id, again.id);
    place.cloud.terminate(at(2), &first.id);
    place.cloud.tick(at(60), &mut place.forge);
    let dead = place.launch(at(61), MachineOutcome::default()).unwrap();
    assert_eq!((dead.id, dead.state), (first.id, MachineState::Gone));
    place.attempt.boot.deadline = at(7200);
    assert_eq!(
        place.launch(at(62), MachineOutcome::default()).unwrap_err().kind,
        ErrorKind::Invalid
    );
    assert_eq!(place.cloud.machines().count(), 1);
}

#[test]
fn a_machine_runs_one_job_and_ends() {
    let mut place = place();
    let job = place.forge.push(at(0), "o/r", &[JobSpec::new("build", &["linux"])])[0];
    place.launch(at(0), MachineOutcome::default()).unwrap();
    assert_eq!(place.state(at(10)), Some(MachineState::Booting));
    place.cloud.tick(at(31), &mut place.forge);
    assert_eq!(place.forge.job(job).unwrap().status, Status::Running);
    place.cloud.tick(at(200), &mut place.forge);
    assert!(place.forge.job(job).unwrap().status.is_done());
    let machine = &place.cloud.list(at(200))[0];
    assert_eq!((machine.state, machine.ended_by), (MachineState::Gone, Some(EndedBy::Itself)));
    assert_eq!(place.forge.runners().count(), 0);
    assert_eq!(place.cloud.next_event(), None);
    assert_eq!(place.state(at(200 + 3700)), None);
}

#[test]
fn an_idle_machine_drains_and_its_registration_stays() {
    let mut place = place();
    place.launch(at(0), MachineOutcome::default()).unwrap();
    place.cloud.tick(at(149), &mut place.forge);
    assert_eq!(place.state(at(149)), Some(MachineState::Up));
    place.cloud.tick(at(150), &mut place.forge);
    assert_eq!(place.state(at(150)), Some(MachineState::Ending));
    assert_eq!(place.forge.runners().count(), 1);
}

#[test]
fn only_its_timer_ends_a_hung_machine() {
    let mut place = place();
    place
        .launch(at(0), MachineOutcome { never_online: true, ..MachineOutcome::default() })
        .unwrap();
    place.cloud.tick(at(3599), &mut place.forge);
    assert_eq!(place.state(at(3599)), Some(MachineState::Up));
    place.cloud.tick(at(3600), &mut place.forge);
    assert_eq!(place.state(at(3600)), Some(MachineState::Ending));
}

#[test]
fn an_unregistered_machine_ends_itself() {
    let mut place = place();
    place.launch(at(0), MachineOutcome::default()).unwrap();
    place.forge.delete_runner(place.attempt.runner.id);
    place.cloud.tick(at(30), &mut place.forge);
    assert_eq!(place.state(at(30)), Some(MachineState::Ending));
}

#[test]
fn an_interruption_ends_a_machine_mid_job() {
    let mut place = place();
    let job = place.forge.push(at(0), "o/r", &[JobSpec::new("build", &["linux"])])[0];
    let outcome = MachineOutcome {
        interrupted_in: Some(SignedDuration::from_secs(50)),
        ..MachineOutcome::default()
    };
    place.launch(at(0), outcome).unwrap();
    place.cloud.tick(at(300), &mut place.forge);
    assert_eq!(place.cloud.list(at(300))[0].ended_by, Some(EndedBy::Cloud));
    assert_eq!(place.forge.job(job).unwrap().status, Status::Running);
    place.forge.tick(at(700));
    assert!(place.forge.job(job).unwrap().status.is_done());
}

#[test]
fn after_the_notice_of_an_interruption_a_runner_reports_its_job() {
    let work = SignedDuration::from_mins(10);
    let outcome = |interrupted_in: i64| MachineOutcome {
        interrupted_in: Some(SignedDuration::from_secs(interrupted_in)),
        ends_job_before: Some(SignedDuration::from_secs(25)),
        ..MachineOutcome::default()
    };
    let pushed = |place: &mut Place| {
        let build = JobSpec { work, ..JobSpec::new("build", &["linux"]) };
        place.forge.push(at(0), "o/r", &[build])[0]
    };
    let mut place = place();
    let job = pushed(&mut place);
    place.launch(at(0), outcome(180)).unwrap();
    place.cloud.tick(at(154), &mut place.forge);
    assert_eq!(place.forge.job(job).unwrap().status, Status::Running);
    place.cloud.tick(at(155), &mut place.forge);
    assert_eq!(place.forge.job(job).unwrap().status, Status::Done(Conclusion::Failure));
    place.cloud.tick(at(179), &mut place.forge);
    assert_eq!(place.state(at(179)), Some(MachineState::Up), "it waits for its end");
    place.cloud.tick(at(180), &mut place.forge);
    assert_eq!(place.cloud.list(at(180))[0].ended_by, Some(EndedBy::Cloud));

    let mut place = self::place();
    let job = pushed(&mut place);
    place.launch(at(0), outcome(120)).unwrap();
    place.cloud.tick(at(60), &mut place.forge);
    assert_eq!(place.forge.job(job).unwrap().status, Status::Waiting, "it takes no job");
    assert_eq!(place.cloud.list(at(60))[0].ended_by, Some(EndedBy::Itself));
}

#[test]
fn lists_lag_and_launches_are_refused_by_capacity_limit_and_rate() {
    let mut place = place();
    place.cloud.config.list_lag = SignedDuration::from_secs(20);
    place.cloud.run_short(("t3.small".to_owned(), "subnet-a".to_owned(), Market::Spot), at(10));
    assert_eq!(
        place.launch(at(5), MachineOutcome::default()).unwrap_err().kind,
        ErrorKind::NoCapacity
    );
    place.cloud.config.account_limit = Some(0);
    assert_eq!(place.launch(at(10), MachineOutcome::default()).unwrap_err().kind, ErrorKind::Limit);
    place.cloud.config.account_limit = None;
    place.cloud.config.launches_per_minute = Some(0);
    assert_eq!(
        place.launch(at(10), MachineOutcome::default()).unwrap_err().kind,
        ErrorKind::Throttled
    );
    place.cloud.config.launches_per_minute = None;
    let machine = place.launch(at(10), MachineOutcome::default()).unwrap();
    assert_eq!(place.cloud.find(at(29), &machine.id), None);
    assert!(place.cloud.find(at(30), &machine.id).is_some());
    let foreign = place.cloud.add_foreign();
    assert!(place.cloud.is_foreign(&foreign) && place.cloud.find(at(30), &foreign).is_none());
}

#[test]
fn stock_quota_and_addresses_limit_a_launch_of_many() {
    let mut place = place();
    let config = &mut place.cloud.config;
    config.zones.insert("subnet-a".to_owned(), "a".to_owned());
    config.stock.insert(
        ("t3.small".to_owned(), "a".to_owned(), Market::Spot),
        Stock::of(1).then(at(10), 4),
    );
    config.vcpu_quota.insert(Market::Spot, 6);
    let mut run = |now, token, least, most| {
        let pool = ("t3.small".to_owned(), "subnet-a".to_owned(), Market::Spot);
        let ask = Ask { token: Some(token), bytes: [0; 32], pool, least, most };
        let launch =
            Launch { attempt_id: &place.attempt_id, placement: 0, attempt: &place.attempt };
        let made = place.cloud.run(now, &ask, launch, &MachineOutcome::default());
        made.map(|(ids, made)| (ids.len(), made)).map_err(|refused| refused.code)
    };
    assert_eq!(run(at(9), "a", 2, 2), Err("InsufficientInstanceCapacity"));
    assert_eq!(run(at(10), "a", 1, 2), Ok((2, true)));
    assert_eq!(run(at(10), "a", 1, 2), Ok((2, false)));
    assert_eq!(run(at(10), "b", 2, 2), Err("MaxSpotInstanceCountExceeded"));
    assert_eq!(run(at(10), "b", 1, 5), Ok((1, true)), "6 processors suffice for 3 machines");
    place.cloud.config.vcpu_quota.clear();
    place.cloud.config.addresses.insert("subnet-a".to_owned(), 3);
    let code = place.launch(at(10), MachineOutcome::default()).unwrap_err().code;
    assert_eq!(code, "InsufficientFreeAddressesInSubnet");
    assert_eq!(place.cloud.by_addresses("subnet-a"), 0);
}

#[test]
fn a_power_off_counts_as_ended_by_the_machine() {
    let mut place = place();
    let id = place.launch(at(0), MachineOutcome::default()).unwrap().id;
    place.cloud.power_off(at(1), &id);
    let ended = &place.cloud.list(at(1))[0];
    assert_eq!((ended.state, ended.ended_by), (MachineState::Ending, Some(EndedBy::Itself)));
}
