//! This host: the data directory, another process on our address, programs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::settings::{AWS, ComputeUrl, StoreUrl};
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::text::{cut, escape};

/// What is known of the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The directory, or the nearest above it that exists.
    pub directory: PathBuf,
    /// Why it cannot be written; `None`: it can.
    pub unwritable: Option<String>,
    /// Bytes that we may still write; `None`: not told.
    pub free: Option<u64>,
}

const MIB: u64 = 1024 * 1024;

/// Looks at the data directory; a file is made in it and removed again.
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

/// Whether runs can be kept.
pub fn data_check(store: &StoreUrl, disk: &Disk) -> Check {
    const NAME: &str = "store";
    let directory = match store {
        StoreUrl::Redb(directory) => escape(&directory.to_string_lossy()),
        StoreUrl::Memory => {
            return Check::warn(
                NAME,
                "memory: runs are gone with the process",
                "store = \"redb:./data\" keeps them",
            );
        }
        StoreUrl::Dynamodb(table) if AWS => {
            return Check::ok(NAME, format!("dynamodb:{table}, which serve makes or completes"));
        }
        StoreUrl::Dynamodb(table) => {
            return Check::fail(
                NAME,
                format!("dynamodb:{table} is not in this build"),
                "redb:./data",
            );
        }
    };
    if let Some(why) = &disk.unwritable {
        return Check::fail(
            NAME,
            format!("{directory} cannot be written: {why}"),
            "give its directory to the user that runs tinqs-ci, or set `store` to another",
        );
    }
    let Some(free) = disk.free else {
        return Check::ok(NAME, format!("{directory} can be written"));
    };
    let mib = free / MIB;
    let message = format!("{directory} can be written, {mib} MiB free");
    match mib {
        0..64 => Check::fail(NAME, message, "make room: a full disk stops webhooks"),
        64..1024 => Check::warn(NAME, message, "make room: machines and their jobs need it too"),
        _ => Check::ok(NAME, message),
    }
}

/// What answers where `serve` listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// Nothing.
    Nobody,
    /// A server of ours; whether it is ready.
    Ours {
        /// `/readyz` says so.
        is_ready: bool,
    },
    /// Something else.
    Other,
}

/// Asks whatever listens at our address.
pub(super) async fn neighbour(listen: SocketAddr) -> Neighbour {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let address = SocketAddr::new(ip, listen.port());
    let within = Duration::from_secs(3);
    if listen.port() == 0 {
        return Neighbour::Nobody;
    }
    match tokio::time::timeout(within, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return Neighbour::Nobody,
    }
    let client = tinqs_ci_net::http_client()
        .timeout(within)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let Ok(client) = client else { return Neighbour::Other };
    let status = async |path: &str| {
        let answer = client.get(format!("http://{address}{path}")).send().await.ok()?;
        Some(answer.status().as_u16())
    };
    match (status("/healthz").await, status("/readyz").await) {
        (Some(200), Some(ready @ (200 | 503))) => Neighbour::Ours { is_ready: ready == 200 },
        _ => Neighbour::Other,
    }
}

/// Whether `serve` may listen.
pub fn neighbour_check(listen: SocketAddr, seen: &Neighbour) -> Check {
    const NAME: &str = "server";
    match seen {
        Neighbour::Nobody => Check::ok(NAME, format!("nothing runs at {listen} yet")),
        Neighbour::Ours { is_ready: true } => Check::ok(NAME, format!("runs at {listen}, ready")),
        Neighbour::Ours { is_ready: false } => Check::warn(
            NAME,
            format!("runs at {listen}, not ready"),
            format!("http://{listen}/readyz tells which part is not reached"),
        ),
        Neighbour::Other => Check::fail(
            NAME,
            format!("something else answers at {listen}"),
            "end it, or set `server.listen` to another port",
        ),
    }
}

/// A program that machines need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Where it is; `None`: not in PATH.
    pub path: Option<PathBuf>,
    /// The first line that `--version` prints; empty where it prints none.
    pub version: String,
}

/// Runners, in the order in which the boot script takes them.
const RUNNERS: [&str; 2] = ["gitea-runner", "act_runner"];

/// Looks for what machines need.
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

fn which(name: &str, path: &str) -> Option<PathBuf> {
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

/// The first `1.2.3` of a text.
fn numbers(text: &str) -> Option<(u32, u32, u32)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let mut parts = word.split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Some((major, minor, patch)),
            _ => None,
        }
    })
}

/// Ephemeral runners need this one.
const OLDEST_RUNNER: (u32, u32, u32) = (0, 2, 12);

/// Whether machines of this host can run jobs.
pub fn compute_checks(compute: &ComputeUrl, programs: &[Program]) -> Vec<Check> {
    const NAME: &str = "runner";
    if let ComputeUrl::Ec2(region) = compute {
        let message = format!("ec2:{region}: it is looked for where machines boot, not here");
        return vec![Check::ok(NAME, message)];
    }
    let found = |name: &str| programs.iter().find(|p| p.name == name && p.path.is_some());
    let runner = match RUNNERS.iter().find_map(|name| found(name)) {
        None => Check::fail(
            NAME,
            "neither gitea-runner nor act_runner is in PATH",
            "install Gitea's runner (https://gitea.com/gitea/runner/releases) into the PATH of serve",
        ),
        Some(Program { path, version, .. }) => {
            let at = path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            match numbers(version) {
                Some(numbers) if numbers < OLDEST_RUNNER => Check::fail(
                    NAME,
                    format!("{at}: {version} knows no ephemeral runners"),
                    "install 0.2.12 or newer",
                ),
                Some(_) => Check::ok(NAME, format!("{at}: {version}")),
                None => Check::warn(
                    NAME,
                    format!("{at} does not tell its version"),
                    "run it with --version; it must be 0.2.12 or newer",
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
    fn room_and_rights_decide() {
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
    fn a_directory_that_is_not_there_is_judged_by_its_parent() {
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
    fn runners_are_told_apart() {
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
        let old = program("act_runner", true, "act_runner version v0.2.11");
        let mute = program("act_runner", true, "");
        let none = program("gitea-runner", false, "");
        assert_eq!(check(&[new.clone(), old.clone(), bash.clone()]), [Outcome::Ok, Outcome::Ok]);
        assert_eq!(check(&[none.clone(), old, bash.clone()]), [Outcome::Fail, Outcome::Ok]);
        assert_eq!(check(&[none.clone(), mute, bash]), [Outcome::Warn, Outcome::Ok]);
        assert_eq!(check(&[none]), [Outcome::Fail, Outcome::Fail]);
    }

    #[tokio::test]
    async fn neighbours_are_told_apart() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            // Three connections: a look, /healthz, /readyz.
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
        assert_eq!(neighbour(address).await, Neighbour::Ours { is_ready: false });
        server.await.expect("it has answered");
        // A caller's own port: nobody answers there, and no other test gets it.
        let other = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let to = other.local_addr().expect("an address");
        let caller = std::net::TcpStream::connect(to).expect("a connection");
        let free = caller.local_addr().expect("an address");
        assert_eq!(neighbour(free).await, Neighbour::Nobody);
        assert_eq!(neighbour_check(address, &Neighbour::Other).outcome, Outcome::Fail);
        assert_eq!(neighbour_check(address, &Neighbour::Nobody).outcome, Outcome::Ok);
    }
}
