//! Guests: programs on the machines of the wire. One kind runs the real user data as processes of
//! this host.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A machine that has booted.
#[derive(Debug)]
pub struct Booted<'a> {
    /// Instance ID.
    pub id: String,
    /// Decoded user data.
    pub user_data: &'a [u8],
}

/// A program that machines run.
pub trait Guest: Send + Sync {
    /// Starts the guest. A guest that cannot start counts as ended at once.
    fn start(&self, machine: &Booted<'_>) -> Box<dyn Running>;
}

/// A running guest. Its end is the machine's power-off.
pub trait Running: Send {
    /// Returns whether it has powered off.
    fn ended(&mut self) -> bool;
    /// Stops it until it is resumed.
    fn stop(&mut self);
    /// Lets it go on after a stop.
    fn resume(&mut self);
    /// Asks it to end, also if it is stopped.
    fn terminate(&mut self);
    /// Announces to it, by its metadata service, when the cloud takes the machine back.
    fn announce(&mut self, taken_at: Timestamp);
    /// Ends it immediately.
    fn kill(&mut self);
    /// Returns its output so far.
    fn output(&self) -> String;
}

/// Environment variable that marks the processes of a guest; its value is the guest's directory.
pub const GUEST: &str = "TINQS_CI_SIMULATED_GUEST";
/// The instance metadata service of a machine.
const METADATA: &[u8] = b"http://169.254.169.254/latest";
/// The text with which the boot script begins to look up the home of its user.
const HOME: &[u8] = b"HOME=~";
/// The power-off command: it creates a marker file and waits to be killed.
const POWER_OFF: &str = include_str!("guest/poweroff.sh");
/// Maximum number of scans for the processes of a guest.
const ROUNDS: usize = 100;
/// Names of the power-off command.
const POWER_OFFS: [&str; 4] = ["poweroff", "shutdown", "halt", "systemctl"];

/// Guests that run the user data in bash, each in its own directory and process group, with all
/// processes marked by a variable. `poweroff`, `shutdown`, `halt` and `systemctl` end the guest;
/// `shutdown -h +N` ends it N minutes later. As on a real machine, a script that ends without them
/// leaves its machine running.
///
/// User data starts with umask 022, and without USER and HOME, as under cloud-init. The home that it
/// looks up by `HOME=~` is a directory of the guest, its `/etc/` one of all guests, and the URL of
/// its metadata service a folder of files, which curl reads whatever the method: the executed copy
/// has those names replaced, so that nothing of this host is read or written.
#[derive(Clone, Debug)]
pub struct Processes {
    /// Parent of the guests' directories: `<dir>/<instance id>`, with `log`, `user-data`, `home`.
    /// The guests' `/etc` is `<dir>/etc`, which may be missing.
    pub dir: PathBuf,
    /// Environment besides the guest's mark. `PATH` is searched after the guest's own power-off
    /// commands.
    pub environment: Vec<(String, String)>,
}

impl Processes {
    fn prepare(&self, machine: &Booted<'_>) -> io::Result<(PathBuf, Child)> {
        static STARTS: AtomicU64 = AtomicU64::new(0);
        let start = STARTS.fetch_add(1, Ordering::Relaxed);
        let mut dir = self.dir.join(&machine.id);
        if dir.exists() {
            // Taken by a machine of another wire.
            dir = self.dir.join(format!("{}-{start}", machine.id));
        }
        let (bin, home) = (dir.join("bin"), dir.join("home"));
        fs::create_dir_all(&bin)?;
        fs::create_dir_all(&home)?;
        let executable = |path: &Path, text: &[u8]| {
            fs::write(path, text)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        };
        for name in POWER_OFFS {
            executable(&bin.join(name), POWER_OFF.as_bytes())?;
        }
        let etc = format!("{}/", self.dir.join("etc").display());
        let script = replaced(machine.user_data, b"/etc/", etc.as_bytes());
        let script = replaced(&script, HOME, format!("HOME={}", home.display()).as_bytes());
        // All guests share the host's `/run`.
        let running = dir.join("running").display().to_string();
        let script = replaced(&script, b"/run/tinqs-ci", running.as_bytes());
        fs::create_dir_all(dir.join("metadata/api"))?;
        fs::write(dir.join("metadata/api/token"), "TOKEN")?;
        let metadata = format!("file://{}/metadata", dir.display());
        let script = replaced(&script, METADATA, metadata.as_bytes());
        executable(&dir.join("user-data"), &script)?;
        let log = fs::File::create(dir.join("log"))?;
        let path = self.environment.iter().find(|(name, _)| name == "PATH");
        let path = path.map_or("/usr/bin:/bin", |(_, value)| value.as_str());
        let child = Command::new("bash")
            .args(["-c", "umask 022 && exec bash \"$0\""])
            .arg(dir.join("user-data"))
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("PATH", format!("{}:{path}", bin.display()))
            .env(GUEST, &dir)
            .current_dir(&home)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok((dir, child))
    }
}

/// Returns the bytes with each `from` replaced.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(byte) = rest.first() {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(*byte);
            rest = &rest[1..];
        }
    }
    out
}

impl Guest for Processes {
    fn start(&self, machine: &Booted<'_>) -> Box<dyn Running> {
        match self.prepare(machine) {
            Ok((dir, child)) => Box::new(Process { dir, child, over: false }),
            Err(error) => Box::new(FailedStart(format!("cannot start the guest: {error}\n"))),
        }
    }
}

/// A guest that failed to start.
struct FailedStart(String);

impl Running for FailedStart {
    fn ended(&mut self) -> bool {
        true
    }

    fn stop(&mut self) {}

    fn resume(&mut self) {}

    fn terminate(&mut self) {}

    fn announce(&mut self, _taken_at: Timestamp) {}

    fn kill(&mut self) {}

    fn output(&self) -> String {
        self.0.clone()
    }
}

struct Process {
    dir: PathBuf,
    child: Child,
    over: bool,
}

impl Process {
    fn signal_group(&self, signal: Signal) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // The group may be gone already.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Returns every process with this guest's mark; job steps have their own process groups.
    fn marked(&self) -> BTreeSet<i32> {
        let mark = format!("{GUEST}={}", self.dir.display());
        let Ok(all) = fs::read_dir("/proc") else { return BTreeSet::new() };
        let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let marked = |pid: &i32| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|all| all.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()))
        };
        pids.filter(marked).collect()
    }
}

/// Signals processes in this order. Any of them may have ended already.
fn signal(pids: &[i32], signal: Signal) {
    for pid in pids.iter().copied().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

impl Running for Process {
    fn ended(&mut self) -> bool {
        if self.over {
            return true;
        }
        // Reaps the script when it ends. Only its death by a signal switches the machine off.
        let killed = match self.child.try_wait() {
            Ok(Some(status)) => status.code().is_none(),
            Ok(None) => false,
            Err(_) => true,
        };
        if killed || self.dir.join("powered-off").exists() {
            self.kill();
        }
        self.over
    }

    fn stop(&mut self) {
        // Parents first, which have lower IDs: none sees a child stop, and none ends meanwhile,
        // which would hang up on its stopped children. What a process starts during the scan is
        // found in the next round.
        let mut stopped = BTreeSet::new();
        for _ in 0..ROUNDS {
            let marked = self.marked();
            let running: Vec<i32> = marked.difference(&stopped).copied().collect();
            if running.is_empty() {
                return;
            }
            signal(&running, Signal::STOP);
            stopped.extend(running);
        }
    }

    fn resume(&mut self) {
        // Children first, as they were stopped last.
        let stopped: Vec<i32> = self.marked().into_iter().rev().collect();
        signal(&stopped, Signal::CONT);
    }

    fn terminate(&mut self) {
        self.signal_group(Signal::TERM);
        self.resume();
    }

    fn announce(&mut self, taken_at: Timestamp) {
        let folder = self.dir.join("metadata/meta-data/spot");
        let text = format!("{{\"action\":\"terminate\",\"time\":\"{taken_at:.0}\"}}");
        // A notice that cannot be written is one that does not come, as happens with EC2.
        let _ = fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("instance-action"), text));
    }

    fn kill(&mut self) {
        self.over = true;
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.signal_group(Signal::KILL);
        }
        // A process that forks during the scan is found in the next round.
        for _ in 0..ROUNDS {
            let marked: Vec<i32> = self.marked().into_iter().collect();
            signal(&marked, Signal::KILL);
            let reaped = matches!(self.child.try_wait(), Ok(Some(_)) | Err(_));
            if reaped && marked.is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn output(&self) -> String {
        fs::read(self.dir.join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
        }
    }
}
