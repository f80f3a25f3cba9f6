//! A Spot machine that the cloud takes back: the notice comes from a metadata service on loopback.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_boot::script;
use tinqs_ci_reconciler::model::Market;
use tinqs_ci_testing::fake_runner::Fake;

use super::{Machine, attempt_id, beside_steps, usual, wait_until, with};

/// The metadata service, as the script names it.
const METADATA: &str = "http://169.254.169.254/";
/// A runner with a job that ignores SIGTERM, and in which a process has lost its variables. It
/// reports when the job has ended.
const RUNNER: &str = r#"#!/bin/bash
trap 'echo term >>"$FAKE/signals"' TERM
set -m
bash -c 'trap "" TERM; env -i sleep 1000 & echo "$!" >"$FAKE/lost"; wait' &
: >"$FAKE/ready"
while kill -s 0 "$!" 2>/dev/null; do wait "$!"; done
echo failure >"$FAKE/reported"
"#;

/// Serves the metadata of a machine: `said("notice")` is announced while it is there, and
/// `said("asked")` gets what was asked with which answer. Returns the URL.
fn metadata(fake: &Fake) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (notice, asked) = (fake.said("notice"), fake.said("asked"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A caller that went away asks again.
            let _ = answer(stream.unwrap(), &notice, &asked);
        }
    });
    url
}

fn answer(mut stream: TcpStream, notice: &Path, asked: &Path) -> std::io::Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines();
    let head: Vec<String> =
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let has = |line: &str| head.iter().any(|sent| sent == line);
    let request = head.first().and_then(|line| line.rsplit_once(' ')).unwrap_or_default().0;
    let (status, body) = match request {
        "PUT /latest/api/token" if has("X-aws-ec2-metadata-token-ttl-seconds: 60") => {
            ("200 OK", "TOKEN".to_owned())
        }
        _ if !has("X-aws-ec2-metadata-token: TOKEN") => ("401 Unauthorized", String::new()),
        "GET /latest/meta-data/spot/instance-action" => std::fs::read_to_string(notice)
            .map_or(("404 Not Found", "<html>".to_owned()), |text| ("200 OK", text)),
        _ => ("404 Not Found", String::new()),
    };
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(asked)?;
    writeln!(log, "{request} {status}")?;
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Boots a Spot machine, and waits until its metadata service was asked in vain.
fn booted(fake: Fake, mode: &str) -> Machine {
    let url = metadata(&fake);
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.placements[0].machine.market = Market::Spot;
    "subnet-a".clone_into(&mut attempt.placements[0].machine.subnet);
    let text = script(&attempt_id, 0, &attempt);
    let machine = Machine::boot_as(fake, mode, &attempt_id, &with(&text, METADATA, &url));
    machine.wait_ready();
    let token = "PUT /latest/api/token 200 OK";
    let none = "GET /latest/meta-data/spot/instance-action 404 Not Found";
    let asked = || machine.fake.heard("asked");
    wait_until("it asks for a notice", || asked().lines().any(|line| line == none));
    // A call that takes 2 s is given up and made again.
    let asked = asked();
    let before: Vec<&str> = asked.lines().take_while(|line| *line != none).collect();
    assert!(!before.is_empty() && before.iter().all(|line| *line == token), "{asked}");
    machine
}

fn announce(machine: &Machine, seconds: i64) {
    let time = Timestamp::now() + SignedDuration::from_secs(seconds);
    let text = format!("{{\"action\": \"terminate\", \"time\": \"{time:.0}\"}}");
    // In one step: the script may ask at any moment.
    let part = machine.fake.said("part");
    std::fs::write(&part, text).unwrap();
    std::fs::rename(part, machine.fake.said("notice")).unwrap();
}

/// Returns whether a process runs, by its ID.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_job_ends_and_is_reported_before_the_cloud_takes_its_machine() {
    let fake = Fake::without_runner();
    fake.program("gitea-runner", RUNNER);
    let docker =
        "#!/bin/bash\necho \"$*\" >>\"$FAKE/docker\"\n[ \"$1\" = ps ] && echo a-container\n";
    fake.program("docker", docker);
    let mut machine = booted(fake, "");
    let lost = machine.fake.heard("lost");
    assert!(runs(&lost));
    // The script ends the job 25 s before that; it checks every 5 s.
    announce(&machine, 25);
    wait_until("the runner has reported", || machine.fake.heard("reported") == "failure\n");
    wait_until("it waits for the cloud", || beside_steps(&machine.fake).len() == 4);
    assert!(!runs(&lost), "a process of the job without its variables");
    assert_eq!(machine.fake.heard("signals"), "term\n");
    let stopped = "ps -q --filter name=GITEA-ACTIONS-TASK\nkill a-container\n";
    assert!(machine.fake.heard("docker").starts_with(stopped));
    let console = beside_steps(&machine.fake);
    assert_eq!(console[0], "starting gitea-runner");
    let notice = console[1].strip_prefix("the cloud takes this machine back in ").unwrap();
    assert!(notice.ends_with(" s: the runner takes no new job"), "{notice}");
    let rest = [
        "the job is ended now, so that the runner can report it",
        "the runner ended with status 0: waiting for the cloud",
    ];
    assert_eq!(console[2..], rest);
    assert!(machine.child.try_wait().unwrap().is_none(), "the cloud ends it");
}

#[test]
fn a_job_that_is_done_in_time_is_not_ended() {
    let mut machine = booted(Fake::new(), "busy");
    announce(&machine, 100);
    wait_until("the runner takes no new job", || machine.fake.heard("signals") == "term\n");
    std::thread::sleep(std::time::Duration::from_secs(6));
    std::fs::write(machine.fake.said("finish"), "").unwrap();
    machine.ends();
    assert_eq!(machine.fake.heard("finished"), "done\n");
    assert_eq!(machine.fake.heard("signals"), "term\n");
    assert_eq!(machine.fake.console().last().unwrap(), super::QUICK[1]);
}

#[test]
fn an_idle_runner_takes_no_job_after_a_notice() {
    let mut machine = booted(Fake::new(), "idle");
    announce(&machine, 110);
    machine.ends();
    assert_eq!(machine.fake.heard("signals"), "term\n");
    assert_eq!(machine.fake.console().last().unwrap(), super::QUICK[1]);
}

#[test]
fn machines_on_demand_and_processes_ask_for_no_notice() {
    for (market, subnet) in [(Market::OnDemand, "subnet-a"), (Market::Spot, "")] {
        let attempt_id = attempt_id();
        let mut attempt = usual(&attempt_id);
        let machine = &mut attempt.placements[0].machine;
        (machine.market, machine.subnet) = (market, subnet.to_owned());
        assert!(!script(&attempt_id, 0, &attempt).contains("169.254.169.254"), "{market}");
    }
}
