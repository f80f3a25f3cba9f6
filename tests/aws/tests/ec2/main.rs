//! Machines in EC2, through the real SDK against EC2's wire on loopback.

#[path = "../cloud/mod.rs"]
mod cloud;
mod foreign;
mod lists;
mod options;
mod prices;
mod reasons;
mod runner;
mod signing;
mod templates;
mod untagged;

use std::path::Path;
use std::sync::Arc;

use cloud::{INSTALLATION, UNPACED, ask, clients, in_an_hour, is_clean, machines, recipe, wire};
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_aws::ec2::{Machines, token};
use tinqs_ci_aws::pace::{Rate, Rates};
use tinqs_ci_reconciler::model::{Cause, EndedBy, MachineId, MachineState, Market};
use tinqs_ci_reconciler::ports::{Clock, Compute as _, ErrorKind};
use tinqs_ci_simulator::aws_wire::{Kind, Rule, Rules, When};
use tinqs_ci_simulator::ec2_wire::{Buckets, Ec2Wire, Processes};
use tinqs_ci_testing::conformance::compute;
use tinqs_ci_testing::make::{at_once, until};

fn rule(wire: &Ec2Wire, op: &str, when: When, kind: Kind) {
    wire.faults(|rules| rules.add(Rule::new("ec2", op, when, kind)));
}

/// Machines whose processes run in a directory, with this `PATH` alone.
fn processes(dir: &Path, path: &str) -> Processes {
    Processes { dir: dir.to_owned(), environment: vec![("PATH".to_owned(), path.to_owned())] }
}

fn error(code: &str, status: u16) -> Kind {
    Kind::Error { code: code.to_owned(), status }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_compute_laws_hold() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    compute::all(&machines, &recipe(), in_an_hour()).await;
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_compute_laws_hold_under_eventual_consistency() {
    let wire = wire(|options| {
        options.visible_within = SignedDuration::from_millis(300);
        options.boots_in = SignedDuration::from_millis(200);
        options.ends_within = SignedDuration::from_millis(200);
    });
    let machines = machines(&wire, UNPACED).await;
    compute::all(&machines, &recipe(), in_an_hour()).await;
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_sends_every_required_parameter() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, mut attempt) = ask(1);
    attempt.placements[0].machine.kind = "t3.small".to_owned();
    let machine = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    let seen = wire.machines();
    let [made] = &seen[..] else { panic!("{seen:?}") };
    let made = &made.recipe;
    assert_eq!(
        (made.token.as_str(), made.market),
        (token(INSTALLATION, &attempt_id, 0).as_str(), Market::Spot)
    );
    assert_eq!((made.spot_type.as_str(), made.interruption.as_str()), ("one-time", "terminate"));
    // A T kind keeps AWS's default credit setting.
    assert_eq!((made.shutdown.as_str(), made.credits.as_str()), ("terminate", ""));
    assert_eq!((made.profile.as_str(), made.count), ("tinqs-ci-runner", (1, 1)));
    assert_eq!(made.security_groups, ["sg-1"]);
    let metadata = &made.metadata;
    assert_eq!((metadata.tokens.as_str(), metadata.hop_limit), ("required", 1));
    assert_eq!((metadata.endpoint.as_str(), metadata.tags.as_str()), ("enabled", "disabled"));
    let [disk] = &made.disks[..] else { panic!("{:?}", made.disks) };
    assert_eq!((disk.device.as_str(), disk.kind.as_str()), ("/dev/xvda", "gp3"));
    assert!(disk.encrypted && disk.delete_on_termination);
    let tagged: Vec<&str> = made.tags.keys().map(String::as_str).collect();
    assert_eq!(tagged, ["instance", "network-interface", "spot-instances-request", "volume"]);
    assert!(made.tags.values().all(|tags| *tags == made.instance_tags()));
    let script = tinqs_ci_boot::script(&attempt_id, 0, &attempt);
    assert_eq!(made.user_data, script.as_bytes());
    assert_eq!(machine.zone, "us-east-1a");
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_launches_one_machine() {
    for lost in [Kind::DropAfter, Kind::DropBefore, Kind::ResetMidBody] {
        let wire = wire(|_| {});
        let machines = machines(&wire, UNPACED).await;
        rule(&wire, "RunInstances", When::Nth(1), lost.clone());
        let (attempt_id, attempt) = ask(1);
        let error = machines.launch(&attempt_id, 0, &attempt).await.expect_err("the reply is lost");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{lost:?}: {error}");
        let machine = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
        assert!(machine.is_live());
        assert_eq!(wire.machines().len(), 1, "{lost:?}");
        assert_eq!(wire.ledger().count("RunInstances"), 2, "{lost:?}: the SDK does not retry");
        is_clean(&wire);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_launches_with_one_token_make_one_machine() {
    let wire = wire(|options| options.boots_in = SignedDuration::from_secs(5));
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = ask(1);
    let all = (0..10).map(|_| machines.launch(&attempt_id, 0, &attempt)).collect();
    let mut ids: Vec<MachineId> =
        at_once(all).await.into_iter().map(|machine| machine.unwrap().id).collect();
    ids.dedup();
    assert_eq!((ids.len(), wire.machines().len()), (1, 1));
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_capacity_is_one_call_without_retries() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    wire.run_short("c7a.medium", "us-east-1a", Market::Spot, std::time::Duration::from_mins(10));
    let (attempt_id, attempt) = ask(1);
    let error = machines.launch(&attempt_id, 0, &attempt).await.expect_err("there is none");
    assert_eq!(error.kind, ErrorKind::NoCapacity, "{error}");
    let ledger = wire.ledger();
    let calls: Vec<_> = ledger.of("RunInstances").map(|entry| entry.status).collect();
    assert_eq!(calls, [500]);
    // Another market of the same kind has its own capacity.
    let (attempt_id, mut attempt) = ask(2);
    attempt.placements[0].machine.market = Market::OnDemand;
    assert!(machines.launch(&attempt_id, 0, &attempt).await.unwrap().is_live());
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_classified() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let rows = [
        ("MaxSpotInstanceCountExceeded", 400, ErrorKind::Limit, "Service Quotas"),
        ("InsufficientFreeAddressesInSubnet", 400, ErrorKind::NoCapacity, "subnets"),
        ("UnauthorizedOperation", 403, ErrorKind::Denied, "role"),
        ("RequestExpired", 400, ErrorKind::Denied, "clock"),
        ("InternalError", 500, ErrorKind::Unavailable, "InternalError"),
        ("SomethingNew", 503, ErrorKind::Unavailable, "SomethingNew"),
        ("SomethingNew", 400, ErrorKind::Invalid, "SomethingNew"),
    ];
    for (number, (code, status, kind, says)) in (1..).zip(rows) {
        wire.faults(Rules::clear);
        rule(&wire, "RunInstances", When::Always, error(code, status));
        let (attempt_id, attempt) = ask(number);
        let refused = machines.launch(&attempt_id, 0, &attempt).await.expect_err(code);
        assert_eq!(refused.kind, kind, "{refused}");
        assert!(refused.message.contains(says), "{refused}");
        assert!(!format!("{refused:?}").contains("SECRET"));
    }
    // The cause says how far a refusal reaches; without one, its kind does.
    let role = "AuthFailure.ServiceLinkedRoleCreationNotPermitted";
    let reaches = [
        ("Unsupported", 400, Some(Cause::Unsupported)),
        ("InsufficientFreeAddressesInSubnet", 400, Some(Cause::Addresses)),
        (role, 403, Some(Cause::Market)),
        ("InvalidUserData.Malformed", 400, Some(Cause::Attempt)),
        ("InsufficientInstanceCapacity", 500, None),
        ("UnauthorizedOperation", 403, None),
    ];
    for (number, (code, status, cause)) in (20..).zip(reaches) {
        wire.faults(Rules::clear);
        rule(&wire, "RunInstances", When::Always, error(code, status));
        let (attempt_id, attempt) = ask(number);
        let refused = machines.launch(&attempt_id, 0, &attempt).await.expect_err(code);
        assert_eq!(refused.cause, cause, "{refused}");
    }
    wire.faults(Rules::clear);
    let (attempt_id, mut attempt) = ask(99);
    attempt.placements[0].machine.image = "ami-9999".to_owned();
    let refused = machines.launch(&attempt_id, 0, &attempt).await.expect_err("no such image");
    assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
    assert!(refused.message.contains("`image`"), "{refused}");
    assert_eq!(wire.machines().len(), 0);
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exceeded_quota_is_named() {
    let wire = wire(|_| {});
    wire.cloud(|cloud| cloud.config.vcpu_quota.insert(Market::Spot, 2));
    let machines = machines(&wire, UNPACED).await;
    for id in 1..=2 {
        let (attempt_id, attempt) = ask(id);
        machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    }
    let (attempt_id, attempt) = ask(3);
    let refused =
        machines.launch(&attempt_id, 0, &attempt).await.expect_err("the quota is used up");
    assert_eq!(refused.kind, ErrorKind::Limit, "{refused}");
    assert!(refused.message.contains("quota of spot vCPUs"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_with_other_parameters_returns_the_first_machine() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = ask(1);
    let first = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    let mut other = attempt.clone();
    other.runner.token = tinqs_ci_reconciler::model::Secret::new("another-SECRET");
    let again = machines.launch(&attempt_id, 0, &other).await.unwrap();
    assert_eq!(again.id, first.id);
    assert_eq!(wire.machines().len(), 1);
    let broken: Vec<_> = wire.violations().into_iter().map(|violation| violation.rule).collect();
    assert_eq!(broken, ["same token, same bytes"], "this test violates this law on purpose");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_mismatch_is_retriable_while_its_machine_is_hidden() {
    let wire = wire(|options| options.list_lag = SignedDuration::from_secs(3_600));
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, mut attempt) = ask(1);
    machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    attempt.runner.uuid = "another".to_owned();
    let error = machines.launch(&attempt_id, 0, &attempt).await.expect_err("it is not seen yet");
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert_eq!(wire.machines().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_under_the_default_buckets_is_never_throttled() {
    let wire = wire(|options| options.buckets = Buckets::usual());
    let machines = Arc::new(machines(&wire, Rates::default()).await);
    let begun = std::time::Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for id in 1..=40 {
        let machines = machines.clone();
        all.spawn(async move {
            let (attempt_id, attempt) = ask(id);
            machines.launch(&attempt_id, 0, &attempt).await.map_err(|error| error.kind)
        });
    }
    // There is no room for others while launches wait.
    until("no room", async || (!machines.room()).then_some(())).await;
    let answers = all.join_all().await;
    let launched = answers.iter().filter(|answer| answer.is_ok()).count();
    let held = answers.iter().filter(|answer| **answer == Err(ErrorKind::Throttled)).count();
    assert_eq!(launched + held, 40, "{answers:?}");
    let ledger = wire.ledger();
    assert_eq!(ledger.throttled(), 0);
    assert_eq!((ledger.count("RunInstances"), wire.machines().len()), (launched, launched));
    // Never more than the account's bucket allows in that time, and close to our own pace.
    let most = 5.0 + 2.0 * begun.elapsed().as_secs_f64();
    assert!(f64::from(u32::try_from(launched).unwrap()) <= most, "{launched} of {most}");
    assert!(launched >= 8, "{launched} launched");
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_lowers_the_pace_and_success_restores_it() {
    let wire = wire(|_| {});
    let launch = Rate { capacity: 100.0, per_second: 100.0 };
    let machines = machines(&wire, Rates { launch, ..UNPACED }).await;
    rule(&wire, "RunInstances", When::First(2), Kind::Throttle);
    for id in 1..=2 {
        let (attempt_id, attempt) = ask(id);
        let error = machines.launch(&attempt_id, 0, &attempt).await.expect_err("throttled");
        assert_eq!(error.kind, ErrorKind::Throttled, "{error}");
    }
    let shrunk = machines.pace().launch.per_second();
    assert!((shrunk - 25.0).abs() < 1e-6, "{shrunk}");
    assert_eq!(wire.ledger().count("RunInstances"), 2, "the adapter does not retry by itself");
    for id in 3..=20 {
        let (attempt_id, attempt) = ask(id);
        machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    }
    let grown = machines.pace().launch.per_second();
    assert!((grown - 100.0).abs() < 1e-6, "{grown}");
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn describes_and_terminations_are_batched() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let mut ids = Vec::new();
    for id in 1..=60 {
        let (attempt_id, attempt) = ask(id);
        ids.push(machines.launch(&attempt_id, 0, &attempt).await.unwrap().id);
    }
    let found = at_once(ids.iter().map(|id| machines.find(id)).collect()).await;
    assert!(found.iter().all(|found| matches!(found, Ok(Some(machine)) if machine.is_live())));
    // Unbatched calls would be one per machine.
    let calls = wire.ledger().count("DescribeInstances");
    assert!(calls <= 20, "{calls} calls");
    for ended in at_once(ids.iter().map(|id| machines.terminate(id)).collect()).await {
        ended.unwrap();
    }
    let calls = wire.ledger().count("TerminateInstances");
    assert!(calls <= 20, "{calls} calls");
    assert!(wire.machines().iter().all(|machine| machine.state >= MachineState::Ending));
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_id_does_not_block_other_terminations() {
    // One forgotten machine fails a whole `TerminateInstances` call.
    let wire = wire(|options| options.listed_after_end = SignedDuration::ZERO);
    let machines = machines(&wire, UNPACED).await;
    let mut ids = Vec::new();
    for id in 1..=5 {
        let (attempt_id, attempt) = ask(id);
        ids.push(machines.launch(&attempt_id, 0, &attempt).await.unwrap().id);
    }
    wire.power_off(&ids[2]);
    until("it is forgotten", async || {
        machines.find(&ids[2]).await.unwrap().is_none().then_some(())
    })
    .await;
    let ended = at_once(ids.iter().map(|id| machines.terminate(id)).collect()).await;
    for (at, ended) in ended.into_iter().enumerate() {
        match ended {
            // A machine this new may be hidden, so the caller is to retry.
            Err(error) if at == 2 => assert_eq!(error.kind, ErrorKind::Unavailable, "{error}"),
            ended => ended.unwrap(),
        }
    }
    let living = wire.machines().into_iter().filter(|m| m.state < MachineState::Ending).count();
    assert_eq!(living, 0);
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impaired_zone_does_not_block_other_terminations() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let mut ids = Vec::new();
    for (id, subnet) in [(1, "subnet-a"), (2, "subnet-b"), (3, "subnet-b")] {
        let (attempt_id, mut attempt) = ask(id);
        attempt.placements[0].machine.subnet = subnet.to_owned();
        ids.push(machines.launch(&attempt_id, 0, &attempt).await.unwrap().id);
    }
    wire.impair("us-east-1a", true);
    let ended = at_once(ids.iter().map(|id| machines.terminate(id)).collect()).await;
    let ended: Vec<bool> = ended.into_iter().map(|ended| ended.is_ok()).collect();
    assert_eq!(ended, [false, true, true]);
    wire.impair("us-east-1a", false);
    machines.terminate(&ids[0]).await.unwrap();
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_machine_says_who_ended_it() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let mut ids = Vec::new();
    for id in 1..=4 {
        let (attempt_id, attempt) = ask(id);
        ids.push(machines.launch(&attempt_id, 0, &attempt).await.unwrap().id);
    }
    machines.terminate(&ids[0]).await.unwrap();
    wire.power_off(&ids[1]);
    wire.interrupt_unwarned(&ids[2]);
    wire.end_by_cloud(&ids[3], "Server.InternalError");
    let by = [EndedBy::Request, EndedBy::Itself, EndedBy::Cloud, EndedBy::Cloud];
    for (id, by) in ids.iter().zip(by) {
        let gone = until("it is gone", async || {
            let found = machines.find(id).await.unwrap();
            found.filter(|machine| machine.state == MachineState::Gone)
        })
        .await;
        assert_eq!(gone.ended_by, Some(by), "{id}");
    }
    is_clean(&wire);
}

/// The recorded attempt becomes user data, which the machine runs as its boot script; then it works
/// and powers itself off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_runs_its_boot_script_and_powers_itself_off() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let runner = "#!/bin/bash\ncp .runner \"$HOME/identity\"\necho \"the runner ran: $*\"\n\
                  echo \"around it: $(umask) $USER $LOGNAME $HOME $GO ${PATH%%:*}\"\nexit 0\n";
    let etc = dir.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    std::fs::write(etc.join("environment"), "GO='1.2'\n").unwrap();
    std::fs::write(etc.join("profile"), "PATH=/usr/local/go/bin:$PATH\numask 077\nexit 1\n")
        .unwrap();
    let path = bin.join("gitea-runner");
    std::fs::write(&path, runner).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    let guest = processes(dir.path(), &path);
    let wire = wire(|options| options.guest = Some(Arc::new(guest)));
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = ask(1);
    let machine = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    let gone = until("it powered off", async || {
        let found = machines.find(&machine.id).await.unwrap();
        found.filter(|machine| machine.state == MachineState::Gone)
    })
    .await;
    assert_eq!(gone.ended_by, Some(EndedBy::Itself));
    let console = &wire.machines()[0].console;
    assert!(console.contains("the runner ran: daemon --config config.yaml"), "{console}");
    assert!(console.contains("the runner ended with status 0: powering off"), "{console}");
    assert!(!console.contains("SECRET"), "{console}");
    let log = machines.log(&machine.id, 1 << 20).await.unwrap().expect("it is kept");
    assert_eq!((String::from_utf8(log.bytes).unwrap(), log.cut), (console.clone(), false));
    let end = machines.log(&machine.id, 5).await.unwrap().expect("it is kept");
    assert_eq!((end.bytes.as_slice(), end.cut), (&console.as_bytes()[console.len() - 5..], true));
    let home = dir.path().join(&machine.id.0).join("home");
    let id = std::process::Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(id.stdout).unwrap().trim().to_owned();
    let around = format!("around it: 0022 {user} {user} {} 1.2 /usr/local/go/bin", home.display());
    assert!(console.contains(&around), "{around}: {console}");
    let identity = std::fs::read_to_string(home.join("identity")).unwrap();
    let identity: serde_json::Value = serde_json::from_str(&identity).unwrap();
    assert_eq!(identity["name"], attempt_id.to_string());
    assert_eq!(identity["token"], "runner-SECRET");
    // The token returns the terminated machine.
    let again = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    assert_eq!((again.id, again.state), (machine.id, MachineState::Gone));
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_of_ours_is_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let guest = processes(dir.path(), "/usr/local/bin:/usr/bin:/bin");
    let wire = wire(|options| {
        options.guest = Some(Arc::new(guest));
        options.boots_in = SignedDuration::from_secs(5);
    });
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = ask(1);
    let machine = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    assert_eq!(machines.log(&machine.id, 100).await.unwrap(), None, "it has not booted");
    until("the script says why it ends", async || {
        let log = machines.log(&machine.id, 1 << 20).await.unwrap()?;
        let log = String::from_utf8(log.bytes).unwrap();
        log.contains("neither gitea-runner nor act_runner is in PATH").then_some(())
    })
    .await;
    // Where the kind cannot show the latest output, what was posted at the end is read.
    until("it powered off", async || {
        let found = machines.find(&machine.id).await.unwrap();
        found.filter(|machine| machine.state == MachineState::Gone)
    })
    .await;
    let before = wire.ledger().count("GetConsoleOutput");
    let refused = error("UnsupportedOperation", 400);
    rule(&wire, "GetConsoleOutput", When::Nth(1), refused);
    assert!(machines.log(&machine.id, 1 << 20).await.unwrap().is_some());
    assert_eq!(wire.ledger().count("GetConsoleOutput"), before + 2);
    let stranger = MachineId("i-0123456789abcdef0".to_owned());
    assert_eq!(machines.log(&stranger, 100).await.unwrap(), None);
    assert_eq!(wire.ledger().count("GetConsoleOutput"), before + 2, "it is not asked for");
    is_clean(&wire);
}

/// A clock that does not move.
struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_beyond_the_pace_is_not_sent() {
    let wire = wire(|_| {});
    let launch = Rate { capacity: 1.0, per_second: 0.01 };
    let clock = Arc::new(Still(Timestamp::now()));
    let clients = clients(&wire.url()).await;
    let machines = Machines::new(clients, INSTALLATION, clock, Rates { launch, ..UNPACED });
    assert!(machines.room());
    let (attempt_id, attempt) = ask(1);
    machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    assert!(!machines.room());
    let (attempt_id, attempt) = ask(2);
    let error = machines.launch(&attempt_id, 0, &attempt).await.expect_err("held back");
    assert_eq!(error.kind, ErrorKind::Throttled);
    assert!(error.message.contains("not sent"), "{error}");
    assert_eq!(wire.ledger().count("RunInstances"), 1);
}
