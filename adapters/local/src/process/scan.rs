//! Finds processes by their marker in `/proc`, and ends them.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use tinqs_ci_boot::MARKER;

use super::user::{Account, User};

/// Most bytes read of an environment: the kernel's own limit is 6 MiB at the usual stack size.
const ENVIRONMENT: u64 = 8 << 20;
/// The time limit of killing.
const KILLING: Duration = Duration::from_secs(10);

/// Marked processes. Read at first use, and once more if the result decides about an end.
pub(super) struct Scan {
    account: Account,
    first: Option<HashMap<String, Vec<i32>>>,
    second: Option<HashMap<String, Vec<i32>>>,
}

impl Scan {
    pub(super) fn new(account: &Account) -> Self {
        Self { account: account.clone(), first: None, second: None }
    }

    /// Whether any process of that machine is alive.
    pub(super) fn has(&mut self, token: &str) -> bool {
        let account = &self.account;
        self.first.get_or_insert_with(|| marked(account)).contains_key(token)
    }

    /// Checks again a moment later: while a process executes another program, its environment is
    /// empty for an instant.
    pub(super) fn still_has(&mut self, token: &str) -> bool {
        self.has(token) || {
            let account = &self.account;
            let second = self.second.get_or_insert_with(|| {
                std::thread::sleep(Duration::from_millis(20));
                marked(account)
            });
            second.contains_key(token)
        }
    }
}

/// Returns every process of the machines' user that carries a marker. A zombie has no environment.
fn marked(account: &Account) -> HashMap<String, Vec<i32>> {
    // The server may not read the environments of another user, whatever its capabilities.
    let found = account.files(|| marked_of(account.0.as_deref()));
    found.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot look for processes of the machines' user");
        HashMap::new()
    })
}

fn marked_of(user: Option<&User>) -> HashMap<String, Vec<i32>> {
    let mut found: HashMap<String, Vec<i32>> = HashMap::new();
    let Ok(processes) = std::fs::read_dir("/proc") else { return found };
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(token) = marker(pid, user) {
            found.entry(token).or_default().push(pid);
        }
    }
    found
}

/// The marker of a process; `None` if it has none, is gone, is not readable, or is not one of the
/// machines' user.
fn marker(pid: i32, user: Option<&User>) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    if let Some(user) = user
        && std::fs::metadata(format!("/proc/{pid}")).ok()?.uid() != user.uid
    {
        return None;
    }
    let mut environment = Vec::new();
    let file = std::fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(ENVIRONMENT).read_to_end(&mut environment).ok()?;
    let value = environment.split(|byte| *byte == 0).find_map(|entry| {
        entry.strip_prefix(MARKER.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
    })?;
    String::from_utf8(value.to_vec()).ok()
}

/// Whether the process of that pid is alive and started at that time (in ticks since the host's
/// boot). `started` is `<pid> <start time>`.
pub(super) fn is_alive(started: &str) -> bool {
    let mut words = started.split_whitespace();
    let (Some(pid), Some(ticks)) =
        (words.next().and_then(|pid| pid.parse::<i32>().ok()), words.next())
    else {
        return false;
    };
    alive_since(pid).is_some_and(|since| since == ticks)
}

/// Returns `<pid> <start time>` of a process that is alive.
pub(super) fn identity(pid: u32) -> Option<String> {
    let ticks = alive_since(i32::try_from(pid).ok()?)?;
    Some(format!("{pid} {ticks}\n"))
}

/// Returns the start time of a process that is alive.
fn alive_since(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may hold anything, so fields count from after its parenthesis: the state
    // is field 3, the start time field 22.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let alive = fields.next().is_some_and(|state| !matches!(state, "Z" | "X" | "x"));
    fields.nth(18).filter(|_| alive).map(str::to_owned)
}

/// Ends every process of a machine: SIGTERM, after `grace` SIGKILL, until none is left. Blocks. The
/// error lists the surviving processes.
pub(super) fn end(account: &Account, token: &str, grace: Duration) -> Result<(), Vec<i32>> {
    let begun = Instant::now();
    let mut signaled = HashSet::new();
    loop {
        let mut scan = Scan::new(account);
        if !scan.still_has(token) {
            return Ok(());
        }
        let pids = marked(account).remove(token).unwrap_or_default();
        let kill = begun.elapsed() >= grace;
        if begun.elapsed() >= grace + KILLING {
            return Err(pids);
        }
        // A failure shows in the next scan.
        let _ = account.files(|| {
            for pid in pids {
                if kill {
                    signal(pid, token, account.0.as_deref(), Signal::KILL);
                } else if signaled.insert(pid) {
                    signal(pid, token, account.0.as_deref(), Signal::TERM);
                }
            }
        });
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Signals a process only if it carries the marker, and is one of the machines' user: the descriptor
/// is opened before both are read, so a reused pid gets no signal.
#[cfg(target_os = "linux")]
fn signal(pid: i32, token: &str, user: Option<&User>, signal: Signal) {
    use rustix::process::{PidfdFlags, kill_process, pidfd_open, pidfd_send_signal};

    let Some(raw) = Pid::from_raw(pid) else { return };
    let process = pidfd_open(raw, PidfdFlags::empty());
    if marker(pid, user).is_none_or(|carried| carried != token) {
        return;
    }
    // A process that has ended, or may not be signaled, shows in the next scan.
    let _ = match process {
        Ok(process) => pidfd_send_signal(process, signal),
        // Kernels before 5.3 lack such descriptors.
        Err(rustix::io::Errno::NOSYS) => kill_process(raw, signal),
        Err(error) => Err(error),
    };
}

/// Without `/proc` there are no machines, so nothing to signal.
#[cfg(not(target_os = "linux"))]
fn signal(pid: i32, _: &str, _: Option<&User>, _: Signal) {
    debug_assert!(Pid::from_raw(pid).is_none(), "no process is found without /proc");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_identified_by_pid_and_start_time() {
        let pid = std::process::id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let ticks = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
        assert!(is_alive(&format!("{pid} {ticks}\n")));
        assert!(!is_alive(&format!("{pid} 1{ticks}")));
        for nonsense in ["", "x y", "-1 5", "4194400 1", &pid.to_string()] {
            assert!(!is_alive(nonsense), "{nonsense}");
        }
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = |stat: String| -> Vec<String> {
            stat.rsplit_once(')').unwrap().1.split_whitespace().map(str::to_owned).collect()
        };
        let until = Instant::now() + Duration::from_secs(20);
        while fields(stat())[0] != "Z" {
            assert!(Instant::now() < until, "`true` does not end");
            std::thread::yield_now();
        }
        let ticks = fields(stat())[19].clone();
        assert!(!is_alive(&format!("{pid} {ticks}")));
        assert_eq!(marker(i32::try_from(pid).unwrap(), None), None);
        child.wait().unwrap();
    }
}
