//! Checks of what jobs need on machines that boot on this host, with the `PATH` that `serve` gives
//! them.

use std::path::Path;

use tinqs_ci_reconciler::model::{Class, MachineSpec};
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::text::{cut, escape};

use super::host::which;
use crate::settings::{ComputeUrl, ProcessUser, Settings};

/// The socket of Docker's daemon; machines do not inherit `DOCKER_HOST`.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// The `PATH` of machines, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MachinePath {
    pub(super) value: String,
    /// The process of the running server; `None`: this command's own `PATH`.
    pub(super) server: Option<u32>,
}

/// Returns the `PATH` of the server that listens at this port, if its environment may be read; else
/// this command's own.
pub(super) fn machine_path(own: &str, port: Option<u16>) -> MachinePath {
    let server = port.and_then(|port| server_path(Path::new("/proc"), port));
    match server {
        Some((pid, value)) => MachinePath { value, server: Some(pid) },
        None => MachinePath { value: own.to_owned(), server: None },
    }
}

/// Returns the process that listens at this port, and its `PATH`.
fn server_path(proc: &Path, port: u16) -> Option<(u32, String)> {
    let tables = ["net/tcp", "net/tcp6"].map(|name| std::fs::read_to_string(proc.join(name)));
    let tables: Vec<String> = tables.into_iter().flatten().collect();
    let sockets: Vec<String> =
        tables.iter().flat_map(|table| table.lines()).filter_map(|l| listener(l, port)).collect();
    let entries = std::fs::read_dir(proc).ok()?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let owner = |pid: &u32| {
        let files = std::fs::read_dir(proc.join(pid.to_string()).join("fd"));
        let links = files.into_iter().flatten().flatten();
        let mut links = links.filter_map(|file| std::fs::read_link(file.path()).ok());
        links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    };
    let pid: u32 = pids.into_iter().find(owner)?;
    let environment = std::fs::read(proc.join(pid.to_string()).join("environ")).ok()?;
    let path = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"PATH="));
    Some((pid, String::from_utf8_lossy(path.unwrap_or_default()).into_owned()))
}

/// Returns the socket of a line of `/proc/net/tcp` that listens at this port, as `/proc/PID/fd` links
/// to it.
fn listener(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let words: Vec<&str> = line.split_whitespace().collect();
    let (_, local) = words.get(1)?.rsplit_once(':')?;
    let is_it = local == format!("{port:04X}") && *words.get(3)? == LISTEN;
    is_it.then(|| words.get(9).map(|inode| format!("socket:[{inode}]")))?
}

/// The programs that jobs find on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) git: bool,
    pub(super) node: bool,
    /// The reason why Docker cannot be used; `None`: it answers.
    pub(super) docker: Option<String>,
}

/// Looks for them.
pub(super) fn found(path: &str) -> Found {
    let docker = std::os::unix::net::UnixStream::connect(DOCKER_SOCKET);
    Found {
        git: which("git", path).is_some(),
        node: which("node", path).is_some(),
        docker: docker.err().map(|error| error.to_string()),
    }
}

/// Checks what jobs of these classes need; nothing if machines run elsewhere.
pub(super) fn needs_checks(
    compute: &ComputeUrl,
    classes: &[Class],
    path: &MachinePath,
    found: &Found,
) -> Vec<Check> {
    if !matches!(compute, ComputeUrl::Process(_)) {
        return Vec::new();
    }
    let shown = escape(&cut(&path.value, 300));
    let mut checks = vec![match path.server {
        Some(pid) => Check::ok("PATH", format!("of the running server (process {pid}): {shown}")),
        None => Check::ok("PATH", format!("of this command, serve may have another: {shown}")),
    }];
    let labels = || classes.iter().flat_map(|class| &class.labels);
    let is_docker = |label: &&String| label.split(':').nth(1) == Some("docker");
    if labels().any(|label| !is_docker(&label)) {
        checks.push(program("git", found.git, "jobs that check out a repository fail without it"));
        let actions = "JavaScript actions such as actions/checkout fail without it";
        checks.push(program("node", found.node, actions));
    }
    if let Some(label) = labels().find(is_docker) {
        checks.push(match &found.docker {
            None => Check::ok("docker", format!("{DOCKER_SOCKET} answers")),
            Some(why) => Check::fail(
                "docker",
                format!("label \"{}\" needs Docker, but {DOCKER_SOCKET}: {why}", cut(label, 60)),
                "start Docker, and add the user that runs serve to the group `docker`; or remove \
                 `:docker://…` from the labels",
            ),
        });
    }
    checks
}

/// Checks as whom jobs run on this host; nothing if machines run elsewhere.
pub(super) fn user_check(settings: &Settings) -> Option<Check> {
    const NAME: &str = "machines";
    if !matches!(settings.compute, ComputeUrl::Process(_)) {
        return None;
    }
    let ProcessUser { user, own, .. } = &settings.process;
    if *own {
        return Some(Check::ok(
            NAME,
            "jobs run as the user that runs serve, as `process.user` says: serve only repositories \
             whose authors you trust",
        ));
    }
    let Some(user) = user else {
        return Some(Check::warn(
            NAME,
            "jobs run as the user that runs serve: they can read its credentials and its store, \
             and end it",
            "set `process.user` to a user of its own for jobs; or to \"self\", and serve only \
             repositories whose authors you trust; see docs/security.md",
        ));
    };
    Some(match tinqs_ci_local::process::is_usable(user) {
        Ok(()) => Check::ok(NAME, format!("jobs run as the user {user}, without access to serve")),
        Err(error) => Check::fail(
            NAME,
            error.to_string(),
            "create it: `useradd --system --create-home ci-job`; the Debian package does",
        ),
    })
}

/// Says what the image of machines in EC2 needs, which cannot be read from here; nothing if
/// machines run on this host.
pub(super) fn image_needs(settings: &Settings) -> Option<Check> {
    if !matches!(settings.compute, ComputeUrl::Ec2(_)) {
        return None;
    }
    let fetches = |spec: &MachineSpec| spec.runner.as_ref().is_some_and(|r| r.download.is_some());
    let lacks = |class: &&Class| !class.machines.iter().all(fetches);
    let names: Vec<&str> =
        settings.classes.iter().filter(lacks).map(|class| class.name.0.as_str()).collect();
    let runner = if names.is_empty() {
        "a runner is fetched where there is none".to_owned()
    } else {
        format!(
            "gitea-runner, or act_runner 0.3.1 or later, unless [class.runner.download] names one \
             (not in {})",
            cut(&names.join(", "), 120)
        )
    };
    Some(Check::ok(
        "image: programs",
        format!(
            "not readable from here; needed are bash, git, node for JavaScript actions, Docker for \
             docker:// labels, and: {runner}"
        ),
    ))
}

fn program(name: &'static str, is_there: bool, without: &str) -> Check {
    if is_there {
        return Check::ok(name, "in PATH");
    }
    Check::warn(name, format!("not in PATH: {without}"), format!("install {name}"))
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use crate::settings;

    fn classes(labels: &str) -> Vec<Class> {
        let text =
            format!("[forge]\nurl = \"https://x\"\n[[class]]\nname = \"a\"\nlabels = [{labels}]\n");
        let env = settings::Env::new();
        settings::parse(&text, Some(Path::new("x")), &env).expect("good").settings.classes
    }

    fn outcomes(labels: &str, found: &Found) -> Vec<(String, Outcome)> {
        let path = MachinePath { value: "/usr/bin".into(), server: None };
        let compute = ComputeUrl::Process("x".into());
        needs_checks(&compute, &classes(labels), &path, found)
            .into_iter()
            .map(|check| (check.name.to_string(), check.outcome))
            .collect()
    }

    #[cfg(feature = "aws")]
    #[test]
    fn what_an_image_needs_depends_on_the_runner_that_is_fetched() {
        let said = |more: &[(&str, &str)]| {
            let mut env = settings::Env::new();
            let usual = [
                ("GITEA_URL", "https://x"),
                ("RUNNER_AMI", "ami-1"),
                ("SUBNET", "subnet-1"),
                ("AWS_REGION", "eu-central-1"),
            ];
            for (name, value) in usual.iter().chain(more) {
                env.insert((*name).to_owned(), (*value).to_owned());
            }
            let settings = settings::parse("", None, &env).expect("good").settings;
            image_needs(&settings).expect("machines in EC2").message
        };
        assert!(said(&[]).ends_with("names one (not in default)"), "{}", said(&[]));
        let hash = "0a".repeat(32);
        let named = [("RUNNER_URL", "https://x/runner"), ("RUNNER_SHA256", hash.as_str())];
        assert!(said(&named).ends_with("a runner is fetched where there is none"));
    }

    #[test]
    fn the_needs_depend_on_the_labels() {
        let nothing = Found { git: false, node: false, docker: Some("refused".into()) };
        let named = |list: &[(&str, Outcome)]| -> Vec<(String, Outcome)> {
            list.iter().map(|(name, outcome)| ((*name).to_owned(), *outcome)).collect()
        };
        let host = [("PATH", Outcome::Ok), ("git", Outcome::Warn), ("node", Outcome::Warn)];
        assert_eq!(outcomes("\"linux\"", &nothing), named(&host));
        let docker = [("PATH", Outcome::Ok), ("docker", Outcome::Fail)];
        assert_eq!(outcomes("\"linux:docker://node:20\"", &nothing), named(&docker));
        let all = Found { git: true, node: true, docker: None };
        let ok: Vec<Outcome> =
            outcomes("\"a:host\", \"b:docker://x\"", &all).into_iter().map(|(_, o)| o).collect();
        assert_eq!(ok, [Outcome::Ok, Outcome::Ok, Outcome::Ok, Outcome::Ok]);
        let path = MachinePath { value: String::new(), server: None };
        let elsewhere = ComputeUrl::Ec2("eu-west-1".into());
        assert_eq!(needs_checks(&elsewhere, &classes("\"a\""), &path, &nothing), Vec::new());
    }

    #[test]
    fn the_path_is_that_of_the_process_that_listens_at_the_port() {
        let proc = tempfile::tempdir().expect("a folder");
        let process = |pid: u32, socket: &str, environment: &str| {
            let files = proc.path().join(pid.to_string()).join("fd");
            std::fs::create_dir_all(&files).expect("made");
            std::os::unix::fs::symlink(socket, files.join("9")).expect("linked");
            let file = proc.path().join(pid.to_string()).join("environ");
            std::fs::write(file, environment).expect("written");
        };
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 4711 1 0 100
   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000 0 4712 1 0 100
";
        std::fs::create_dir(proc.path().join("net")).expect("made");
        std::fs::write(proc.path().join("net/tcp"), table).expect("written");
        process(7, "socket:[4711]", "HOME=/\0PATH=/opt/bin:/bin\0");
        process(8, "socket:[4712]", "PATH=/other\0");
        std::fs::create_dir(proc.path().join("self")).expect("made");
        assert_eq!(server_path(proc.path(), 8080), Some((7, "/opt/bin:/bin".to_owned())));
        assert_eq!(server_path(proc.path(), 8081), None, "a connection is no listener");
        let own = machine_path("/own", None);
        assert_eq!(own, MachinePath { value: "/own".into(), server: None });
    }
}
