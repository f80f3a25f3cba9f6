//! Checks of this host: the data directory, the listening address, programs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::asked::asked;
use crate::commands::reach::local_address;
use crate::settings::{AWS, ComputeUrl, StoreUrl, Tls};
use tinqs_ci_net::{Distrust, Trust};
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::text::{cut, escape};

/// The state of the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The directory, or its nearest existing ancestor.
    pub directory: PathBuf,
    /// The reason why it cannot be written; `None` if it can.
    pub unwritable: Option<String>,
    /// The free space in bytes; `None` if unknown.
    pub free: Option<u64>,
}

const MIB: u64 = 1024 * 1024;

/// Examines the data directory by creating and removing a file in it.
pub(super) fn disk(store: &StoreUrl) -> Disk {
    let StoreUrl::Redb(directory) = store else {
        return Disk { directory: PathBuf::new(), unwritable: None, free: None };
    };
    let whole = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
    let existing = whole.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let unwritable = if existing.is_dir() {
        tried(existing).err().map(|error| error.to_string())
    } else {
        Some(format!("{} is not a directory", existing.display()))
    };
    let free = rustix::fs::statvfs(existing).ok();
    let free = free.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    Disk { directory: existing.to_path_buf(), unwritable, free }
}

fn tried(directory: &Path) -> std::io::Result<()> {
    let file = directory.join(format!(".tinqs-ci-doctor-{}", std::process::id()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&file)?;
    std::fs::remove_file(&file)
}

/// Checks whether runs can be stored.
pub fn data_check(store: &StoreUrl, disk: &Disk) -> Check {
    const NAME: &str = "store";
    let directory = match store {
        StoreUrl::Redb(directory) => escape(&directory.to_string_lossy()),
        StoreUrl::Memory => {
            return Check::warn(
                NAME,
                "memory: runs are lost when the process ends",
                "set store = \"redb:./data\" to keep them",
            );
        }
        StoreUrl::Dynamodb(table) if AWS => {
            return Check::ok(NAME, format!("dynamodb:{table}, created by serve if missing"));
        }
        StoreUrl::Dynamodb(table) => {
            return Check::fail(
                NAME,
                format!("dynamodb:{table} needs the AWS adapters, which this build lacks"),
                "build with `--features aws`, or set store = \"redb:./data\"",
            );
        }
    };
    if let Some(why) = &disk.unwritable {
        return Check::fail(
            NAME,
            format!("cannot write to {directory}: {why}"),
            "make it writable for the user that runs tinqs-ci, or set another `store`",
        );
    }
    let Some(free) = disk.free else {
        return Check::ok(NAME, format!("{directory} is writable"));
    };
    let mib = free / MIB;
    let message = format!("{directory} is writable, {mib} MiB free");
    match mib {
        0..64 => Check::fail(NAME, message, "free disk space: webhooks fail on a full disk"),
        64..1024 => Check::warn(NAME, message, "free disk space: machines and jobs need it too"),
        _ => Check::ok(NAME, message),
    }
}

/// The process at the address where `serve` would listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerCheck {
    /// No process.
    Nobody,
    /// A tinqs-ci server.
    Ours {
        /// Whether `/readyz` reports that it is ready.
        is_ready: bool,
    },
    /// A tinqs-ci server, with another certificate than that of the configuration, or without TLS
    /// although the configuration has it.
    Outdated,
    /// Another program.
    Other,
}

impl ListenerCheck {
    /// Whether it is a tinqs-ci server.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Self::Ours { .. } | Self::Outdated)
    }
}

/// Finds out what listens at the address, by TLS if the configuration has it.
pub(super) async fn neighbor(listen: SocketAddr, tls: Option<&Tls>) -> ListenerCheck {
    let address = local_address(listen);
    let within = Duration::from_secs(3);
    if listen.port() == 0 {
        return ListenerCheck::Nobody;
    }
    match tokio::time::timeout(within, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return ListenerCheck::Nobody,
    }
    let Some(tls) = tls else {
        return match answers(&format!("http://{address}"), &Trust::System, within).await {
            Ok(Some(is_ready)) => ListenerCheck::Ours { is_ready },
            Ok(None) | Err(_) => ListenerCheck::Other,
        };
    };
    let trust = Trust::only_of(&tls.identity);
    match answers(&format!("https://{address}"), &trust, within).await {
        Ok(Some(is_ready)) => ListenerCheck::Ours { is_ready },
        // Whether it is another program is known only of one that answers.
        Err(Some(Distrust::OtherCertificate)) => ListenerCheck::Outdated,
        Err(Some(Distrust::NoTls)) => {
            match answers(&format!("http://{address}"), &Trust::System, within).await {
                Ok(Some(_)) => ListenerCheck::Outdated,
                Ok(None) | Err(_) => ListenerCheck::Other,
            }
        }
        Ok(None) | Err(_) => ListenerCheck::Other,
    }
}

/// Asks for the probes. Returns whether a tinqs-ci server is ready; `None` if it is another program.
///
/// # Errors
/// There is no answer, with the cause if that is its TLS.
async fn answers(
    base: &str,
    trust: &Trust,
    within: Duration,
) -> Result<Option<bool>, Option<Distrust>> {
    let status = async |path: &str| asked(&format!("{base}{path}"), trust, within).await;
    Ok(match (status("/healthz").await?, status("/readyz").await?) {
        (200, ready @ (200 | 503)) => Some(ready == 200),
        _ => None,
    })
}

/// Checks whether `serve` can listen at the address of this key.
pub fn neighbor_check(key: &'static str, listen: SocketAddr, seen: &ListenerCheck) -> Check {
    match seen {
        ListenerCheck::Nobody => Check::ok(key, format!("not running yet, {listen} is free")),
        ListenerCheck::Ours { is_ready: true } => {
            Check::ok(key, format!("running at {listen}, ready"))
        }
        ListenerCheck::Ours { is_ready: false } => Check::warn(
            key,
            format!("running at {listen}, not ready"),
            "see its path /readyz for the failing service",
        ),
        ListenerCheck::Outdated => Check::warn(
            key,
            format!("the server at {listen} does not have the certificate of `server.tls`"),
            "restart it if `server.tls` is new; else its log says why it cannot use the files",
        ),
        ListenerCheck::Other => Check::fail(
            key,
            format!("another program uses {listen}"),
            format!("stop it, or set `{key}` to another port"),
        ),
    }
}

/// A program that machines need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The name.
    pub name: &'static str,
    /// The path; `None` if it is not in PATH.
    pub path: Option<PathBuf>,
    /// The first line of `--version`; may be empty.
    pub version: String,
}

/// Runner programs, in the boot script's order of preference.
const RUNNERS: [&str; 2] = ["gitea-runner", "act_runner"];

/// Finds the programs that machines need.
pub(super) async fn programs(path: &str) -> Vec<Program> {
    let mut found = Vec::new();
    for name in [RUNNERS[0], RUNNERS[1], "bash"] {
        let path = which(name, path);
        let version = match &path {
            Some(path) => version(path).await,
            None => String::new(),
        };
        found.push(Program { name, path, version });
    }
    found
}

pub(super) fn which(name: &str, path: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|directory| directory.join(name)).find(|file| {
        rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
    })
}

async fn version(program: &Path) -> String {
    let mut command = tokio::process::Command::new(program);
    command.arg("--version").stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(5), command.output()).await;
    let Ok(Ok(output)) = output else { return String::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    cut(text.lines().next().unwrap_or_default().trim(), 80)
}

/// Returns the first `1.2.3` of a text.
fn numbers(text: &str) -> Option<(u32, u32, u32)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let mut parts = word.split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Some((major, minor, patch)),
            _ => None,
        }
    })
}

/// The oldest `act_runner` that machines accept: earlier ones lose the end of the log. The name
/// `gitea-runner` is newer than that.
const OLDEST_RUNNER: (u32, u32, u32) = (0, 3, 1);

/// Checks whether machines on this host can run jobs.
pub fn compute_checks(compute: &ComputeUrl, programs: &[Program]) -> Vec<Check> {
    const NAME: &str = "runner";
    if let ComputeUrl::Ec2(region) = compute {
        let message = format!("ec2:{region}: needed on the machines, not on this host");
        return vec![Check::ok(NAME, message)];
    }
    let found = |name: &str| programs.iter().find(|p| p.name == name && p.path.is_some());
    let runner = match RUNNERS.iter().find_map(|name| found(name)) {
        None => Check::fail(
            NAME,
            "neither gitea-runner nor act_runner is in PATH",
            "install Gitea's runner (https://gitea.com/gitea/runner/releases) in the PATH of serve",
        ),
        Some(Program { name, path, version }) => {
            let at = path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            match numbers(version) {
                Some(numbers) if numbers < OLDEST_RUNNER => Check::fail(
                    NAME,
                    format!("{at}: {version} loses the end of a job's log"),
                    "install gitea-runner, or act_runner 0.3.1 or newer",
                ),
                Some(_) => Check::ok(NAME, format!("{at}: {version}")),
                None if *name == RUNNERS[0] && !version.is_empty() => {
                    Check::ok(NAME, format!("{at}: {version}"))
                }
                None => Check::warn(
                    NAME,
                    format!("{at} does not print its version"),
                    "run it with --version, and check that it is 0.3.1 or newer",
                ),
            }
        }
    };
    let bash = match found("bash") {
        Some(Program { path: Some(path), .. }) => Check::ok("bash", path.display().to_string()),
        _ => Check::fail("bash", "not in PATH", "install bash: the boot script needs it"),
    };
    vec![runner, bash]
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn the_store_check_depends_on_free_space_and_permissions() {
        let store = StoreUrl::Redb("./data".into());
        let disk = |unwritable: Option<&str>, free| Disk {
            directory: ".".into(),
            unwritable: unwritable.map(str::to_owned),
            free,
        };
        let outcome = |disk: &Disk| data_check(&store, disk).outcome;
        assert_eq!(outcome(&disk(None, Some(5000 * MIB))), Outcome::Ok);
        assert_eq!(outcome(&disk(None, None)), Outcome::Ok);
        assert_eq!(outcome(&disk(None, Some(500 * MIB))), Outcome::Warn);
        assert_eq!(outcome(&disk(None, Some(5 * MIB))), Outcome::Fail);
        assert_eq!(outcome(&disk(Some("read-only"), Some(5000 * MIB))), Outcome::Fail);
        assert_eq!(data_check(&StoreUrl::Memory, &disk(None, None)).outcome, Outcome::Warn);
    }

    #[test]
    fn a_missing_directory_is_checked_by_its_nearest_ancestor() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = StoreUrl::Redb(folder.path().join("a/b/c"));
        let seen = disk(&below);
        assert_eq!((seen.directory.as_path(), seen.unwritable), (folder.path(), None));
        assert!(seen.free.is_some_and(|free| free > 0));
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0, "nothing is left");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        assert!(disk(&StoreUrl::Redb(file.join("data"))).unwritable.is_some());
    }

    #[test]
    fn the_runner_check_depends_on_program_and_version() {
        let program = |name, there: bool, version: &str| Program {
            name,
            path: there.then(|| PathBuf::from("/bin").join(name)),
            version: version.to_owned(),
        };
        let check = |programs: &[Program]| {
            compute_checks(&ComputeUrl::Process("x".into()), programs)
                .iter()
                .map(|c| c.outcome)
                .collect::<Vec<_>>()
        };
        let bash = program("bash", true, "GNU bash, version 5.2.15(1)-release");
        let new = program("gitea-runner", true, "gitea-runner version v1.0.8");
        let old = program("act_runner", true, "act_runner version v0.3.0");
        let built = program("gitea-runner", true, "gitea-runner version dev");
        let mute = program("act_runner", true, "");
        let none = program("gitea-runner", false, "");
        assert_eq!(check(&[new.clone(), old.clone(), bash.clone()]), [Outcome::Ok, Outcome::Ok]);
        assert_eq!(check(&[none.clone(), old, bash.clone()]), [Outcome::Fail, Outcome::Ok]);
        assert_eq!(check(&[built, bash.clone()]), [Outcome::Ok, Outcome::Ok]);
        assert_eq!(check(&[none.clone(), mute, bash]), [Outcome::Warn, Outcome::Ok]);
        assert_eq!(check(&[none]), [Outcome::Fail, Outcome::Fail]);
    }

    #[tokio::test]
    async fn a_running_server_is_distinguished_from_a_free_address() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            // Three connections: the probe, /healthz, /readyz.
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().await.expect("a caller");
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.expect("a request");
                let ready = request[..read].starts_with(b"GET /readyz");
                let status = if ready { "503 Service Unavailable" } else { "200 OK" };
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        assert_eq!(neighbor(address, None).await, ListenerCheck::Ours { is_ready: false });
        server.await.expect("it has answered");
        // A client's own port: nothing listens there, and no other test gets it.
        let other = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let to = other.local_addr().expect("an address");
        let caller = std::net::TcpStream::connect(to).expect("a connection");
        let free = caller.local_addr().expect("an address");
        assert_eq!(neighbor(free, None).await, ListenerCheck::Nobody);
        assert_eq!(
            neighbor_check("server.api", address, &ListenerCheck::Other).outcome,
            Outcome::Fail
        );
        assert_eq!(
            neighbor_check("server.api", address, &ListenerCheck::Nobody).outcome,
            Outcome::Ok
        );
    }
}
