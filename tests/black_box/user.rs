//! Machines that run as another user: what a job reaches of the server, which is nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use tinqs_ci_test_host::{Host, Options};

use crate::{SUCCESS, host};

/// The user of the machines, and that of a server that is not root: there on every Linux.
const JOBS: &str = "nobody";
const SERVER: &str = "daemon";

/// Tries what a job must not be able to do. Each line of the report is a try and its end.
const TRIES: &str = r#"
report=$JOBS/report
tried() { if "${@:2}" >/dev/null 2>&1; then echo "$1 done"; else echo "$1 refused"; fi >>"$report"; }
asks() { # METHOD PATH: the status of the API, without a token
  exec 3<>"/dev/tcp/127.0.0.1/$API" || return
  printf '%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1" "$2" >&3
  read -r _ status _ <&3
  echo "$1 $2 $status" >>"$report"
  exec 3<&-
}
{ echo "user $(id -un) group $(id -gn) groups $(id -Gn)"
  grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | tr -d '\t'; } >>"$report"
tried configuration cat "$DIR/tinqs-ci.toml"
tried records cat "$DIR/data/tinqs-ci.redb"
tried data ls "$DIR/data"
tried machines ls "$DIR/machines"
tried environment cat "/proc/$PID/environ"
tried memory head -c 1 "/proc/$PID/mem"
tried files ls "/proc/$PID/fd"
for signal in TERM KILL HUP STOP; do tried "$signal" kill -s "$signal" "$PID"; done
tried socket python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"GET /v1/runs HTTP/1.1\r\nHost: localhost\r\n\r\n")
sys.exit(not s.recv(1))' "$DIR/data/api.sock"
asks GET /v1/runs
asks GET /v1/status
asks DELETE /v1/runs/job-1
asks POST /v1/pause
asks POST /v1/reload
asks POST /v1/sweep
tried setuid setpriv --reuid=0 true
echo over >>"$report"
"#;

/// Returns a host whose machines run as another user, and the directory of that user's machines.
/// `None`, after a loud line, if this test may not start such processes.
fn host_with_user() -> Option<(Host, PathBuf)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("!! SKIPPED: machines as another user; this test needs to be root");
        return None;
    }
    let host = host(&Options::default());
    let jobs = host.dir.path().join("jobs");
    fs::create_dir(&jobs).expect("made");
    let (uid, gid) = ids(JOBS);
    chown(&jobs, Some(uid), Some(gid)).expect("owned");
    let user = format!("[process]\nuser = \"{JOBS}\"\ndirectory = \"{}\"\n", jobs.display());
    host.edit(|text| text.replacen("[forge]", &format!("{user}[forge]"), 1));
    // The runner and the directory of the jobs are below it.
    fs::set_permissions(host.dir.path(), fs::Permissions::from_mode(0o711)).expect("set");
    let file = host.dir.path().join("tinqs-ci.toml");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("set");
    Some((host, jobs))
}

/// Returns the IDs of a user and of its group.
fn ids(user: &str) -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("the users of this host");
    let line = users.lines().find(|line| line.split(':').next() == Some(user)).expect("a user");
    let fields: Vec<&str> = line.split(':').collect();
    (fields[2].parse().expect("an ID"), fields[3].parse().expect("an ID"))
}

/// Lets the server be a user with no more rights than the shipped unit grants.
fn as_the_unit_does(host: &mut Host) {
    let rights = "-all,+setuid,+setgid,+kill";
    host.wrapper = ["setpriv", "--clear-groups", "--no-new-privs"].map(str::to_owned).to_vec();
    host.wrapper.extend(["reuid", "regid"].map(|id| format!("--{id}={SERVER}")));
    host.wrapper
        .extend(["inh-caps", "ambient-caps", "bounding-set"].map(|s| format!("--{s}={rights}")));
    let (uid, gid) = ids(SERVER);
    for path in [host.dir.path(), &host.dir.path().join("tinqs-ci.toml")] {
        chown(path, Some(uid), Some(gid)).expect("owned");
    }
    let log = fs::File::create(host.log()).expect("a log");
    std::os::unix::fs::fchown(log, Some(uid), Some(gid)).expect("owned");
}

fn script(host: &Host, jobs: &Path, body: &str) -> String {
    let api = host.url("");
    let port = api.rsplit(':').next().expect("a port").trim_end_matches('/').to_owned();
    let (dir, jobs) = (host.dir.path().display(), jobs.display());
    let pid = host.pid();
    // Jobs are run by `sh`.
    format!("export DIR='{dir}' JOBS='{jobs}' PID={pid} API={port}\nbash <<'BODY'\n{body}\nBODY\n")
}

async fn reaches_nothing(mut host: Host, jobs: &Path) {
    host.start().await;
    let pushed = host.push(1, &["linux"], &script(&host, jobs, TRIES));
    host.all_done(&pushed, 90).await;
    let report = fs::read_to_string(jobs.join("report")).unwrap_or_default();
    assert_eq!(host.status(pushed[0]), SUCCESS, "{report}");
    let lines: Vec<&str> = report.lines().collect();
    let group = lines[0].split(' ').nth(3).expect("a group").to_owned();
    assert_eq!(lines[0], format!("user {JOBS} group {group} groups {group}"), "{report}");
    let capabilities: Vec<&&str> = lines.iter().filter(|line| line.starts_with("Cap")).collect();
    assert_eq!(capabilities.len(), 4, "{report}");
    assert!(capabilities.iter().all(|line| line.ends_with(":0000000000000000")), "{report}");
    assert!(!report.contains(" done"), "{report}");
    assert_eq!(lines.iter().filter(|line| line.ends_with(" refused")).count(), 13, "{report}");
    let asked: Vec<&&str> = lines.iter().filter(|line| line.contains(" /v1/")).collect();
    assert_eq!(asked.len(), 6, "{report}");
    assert!(asked.iter().all(|line| line.ends_with(" 401")), "{report}");
    assert_eq!(lines.last(), Some(&"over"), "{report}");
    host.settles(90).await;
    host.until("the files of the job are gone", 30, async |_| {
        fs::read_dir(jobs).into_iter().flatten().flatten().all(|entry| {
            let name = entry.file_name();
            !name.to_string_lossy().contains("tq-")
        })
    })
    .await;
    host.assert_no_secret_told();
}

pub(crate) async fn a_job_as_another_user_reaches_nothing_of_a_server_that_is_root() {
    let Some((host, jobs)) = host_with_user() else { return };
    reaches_nothing(host, &jobs).await;
}

pub(crate) async fn a_job_as_another_user_reaches_nothing_of_a_server_with_the_rights_of_the_unit()
{
    let Some((mut host, jobs)) = host_with_user() else { return };
    as_the_unit_does(&mut host);
    reaches_nothing(host, &jobs).await;
}

/// A restarted server finds the machines, and ends one with everything that its job has started.
pub(crate) async fn machines_of_another_user_are_found_again_and_ended() {
    let Some((mut host, jobs)) = host_with_user() else { return };
    as_the_unit_does(&mut host);
    host.start().await;
    let body = "(trap '' TERM; sleep 1000) & setsid sleep 1000 & touch \"$JOBS/up\"; sleep 1000";
    let pushed = host.push(1, &["linux"], &script(&host, &jobs, body));
    host.until("the job runs", 60, async |_| jobs.join("up").exists()).await;
    let of_jobs = |path: &Path| fs::metadata(path).is_ok_and(|data| data.uid() == ids(JOBS).0);
    let tokens = host.machines_ever();
    let work = jobs.join(tokens.first().expect("a machine"));
    assert!(of_jobs(&work) && of_jobs(&work.join("home")), "{}", work.display());
    host.kill();
    host.start().await;
    let listed = host.get("/v1/machines").await;
    let token = listed["items"][0]["id"].as_str().expect("an ID").to_owned();
    assert_eq!(listed["items"][0]["state"], "up", "{listed}");
    let path = format!("/v1/machines/{token}/terminate");
    let answer = host.http.post(host.url(&path)).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{answer:?}");
    assert_eq!(host.marked(&token), Vec::<u32>::new(), "no process is left");
    host.until("its files are set aside", 30, async |_| !work.exists()).await;
    drop(pushed);
}

/// A user that cannot be used is refused at the start, with the reason.
pub(crate) async fn a_user_that_cannot_be_used_is_named_at_the_start() {
    let Some((mut host, jobs)) = host_with_user() else { return };
    chown(&jobs, Some(0), Some(0)).expect("owned");
    fs::set_permissions(&jobs, fs::Permissions::from_mode(0o700)).expect("set");
    host.spawn();
    host.ended(30).await;
    let log = fs::read_to_string(host.log()).expect("a log");
    assert!(log.contains("cannot work in") && log.contains("must belong to that user"), "{log}");
    host.edit(|text| text.replace(&format!("user = \"{JOBS}\""), "user = \"no-such-user\""));
    host.spawn();
    host.ended(30).await;
    let log = fs::read_to_string(host.log()).expect("a log");
    assert!(log.contains("`no-such-user`: this user does not exist on this host"), "{log}");
    host.edit(|text| text.replace("no-such-user", JOBS));
    // Root has made them.
    fs::remove_dir_all(host.dir.path().join("data")).expect("removed");
    fs::remove_dir_all(host.dir.path().join("machines")).expect("removed");
    as_the_unit_does(&mut host);
    host.wrapper.retain(|argument| !argument.contains("caps") && !argument.contains("bounding"));
    host.spawn();
    host.ended(30).await;
    let log = fs::read_to_string(host.log()).expect("a log");
    assert!(log.contains("lacks CAP_SETUID, CAP_SETGID, CAP_KILL"), "{log}");
}
