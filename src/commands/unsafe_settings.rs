//! The unsafe settings of a configuration: `serve` refuses to start with one, unless an argument
//! allows it, and `doctor` reports it.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use rustix::fs::StatVfsMountFlags;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::cut;

use super::args::Insecure;
use crate::settings::{ComputeUrl, Loaded, SecretFile, Settings, Tls};

/// The length, in bytes, below which a secret can be guessed.
const GUESSED: usize = 8;
/// The maximum time to resolve the forge's name.
const RESOLVES_WITHIN: Duration = Duration::from_secs(3);
/// File systems in memory (`statfs(2)`): tmpfs, ramfs.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// One thing that is not safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The argument of `serve` that allows it; `None` if it is only questionable.
    pub(super) allowed_by: Option<&'static str>,
    /// The problem.
    pub(super) message: String,
    /// The remedy.
    pub(super) fix: String,
}

/// Returns everything that is not safe.
pub(super) async fn findings(loaded: &Loaded) -> Vec<Finding> {
    let Loaded { settings, secret_sources, .. } = loaded;
    let mut found: Vec<Finding> = api(settings).into_iter().collect();
    found.extend(secrets(settings));
    let key = settings.server.tls.as_ref().map(Tls::key_file);
    let files = secret_sources.files.iter().chain(&key);
    found.extend(files.filter_map(|file| file_below(Path::new("/"), file)));
    found.extend(forge(&settings.forge.url).await);
    found.extend(root(settings, rustix::process::geteuid().is_root()));
    found
}

impl Insecure {
    /// Whether the arguments allow it.
    pub(super) fn allows(self, finding: &Finding) -> bool {
        match finding.allowed_by {
            Some("--insecure-api") => self.api,
            Some("--insecure-secrets") => self.secrets,
            Some("--insecure-files") => self.files,
            Some("--insecure-forge") => self.forge,
            Some("--insecure-root") => self.root,
            Some(_) | None => true,
        }
    }
}

fn api(settings: &Settings) -> Option<Finding> {
    let api = settings.server.api;
    let is_open = !api.ip().to_canonical().is_loopback() && settings.server.tls.is_none();
    is_open.then(|| Finding {
        allowed_by: Some("--insecure-api"),
        message: format!(
            "`server.api`: other hosts reach {api} without TLS, so that the tokens of the API can \
             be read on the way"
        ),
        fix: "set `server.tls`, or set it to an address of 127.0.0.1 and put a proxy with TLS in \
              front of it"
            .to_owned(),
    })
}

/// Checks whether jobs would run as root.
fn root(settings: &Settings, is_root: bool) -> Option<Finding> {
    let here = matches!(settings.compute, ComputeUrl::Process(_));
    (is_root && here && settings.process.user.is_none()).then(|| Finding {
        allowed_by: Some("--insecure-root"),
        message: "the server runs as root, and so do the jobs of its `process:` machines: any of \
                  them owns this host"
            .to_owned(),
        fix: "run the server as a user of its own, or set `process.user` to a user for jobs"
            .to_owned(),
    })
}

fn secrets(settings: &Settings) -> Vec<Finding> {
    let Settings { forge, server, .. } = settings;
    let webhook = forge.webhook_secret.iter().chain(&server.webhook_secrets);
    let webhook = webhook.map(|secret| ("forge.webhook_secret".to_owned(), secret));
    let tokens = server.tokens.iter();
    let tokens = tokens.map(|token| (format!("server.token \"{}\"", token.name), &token.secret));
    let is_guessed = |secret: &Secret| secret.expose().len() < GUESSED;
    let guessed = webhook.chain(tokens).filter(|(_, secret)| is_guessed(secret));
    let finding = |(key, _)| Finding {
        allowed_by: Some("--insecure-secrets"),
        message: format!("`{key}` is shorter than {GUESSED} bytes and can be guessed"),
        fix: "create a longer one with `openssl rand -hex 32`".to_owned(),
    };
    guessed.map(finding).collect()
}

/// Checks who can read the file of a credential, by its own mode and those of the folders below
/// `top`.
fn file_below(top: &Path, SecretFile { key, path }: &SecretFile) -> Option<Finding> {
    // Whether a link may be followed depends on the folders of its target, too.
    let whole = std::fs::canonicalize(path).ok()?;
    let others = |path: &Path, right: u32| {
        std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & right == right)
    };
    let mut folders = whole.ancestors().skip(1).take_while(|folder| *folder != top);
    let is_open = others(&whole, 0o004) && folders.all(|folder| others(folder, 0o001));
    if !is_open || !whole.is_file() {
        return None;
    }
    let shown = cut(&path.to_string_lossy(), 200);
    Some(Finding {
        // The manager that mounted it decides about its mode.
        allowed_by: (!is_mounted_for_us(&whole)).then_some("--insecure-files"),
        message: format!("`{key}`: every user of this host can read the file `{shown}`"),
        fix: format!("run `chmod 600 {shown}` as its owner"),
    })
}

/// Whether the file is on a mount that a service manager makes for credentials: read-only, or in
/// memory.
fn is_mounted_for_us(path: &Path) -> bool {
    let read_only = rustix::fs::statvfs(path)
        .is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY));
    let in_memory = rustix::fs::statfs(path).is_ok_and(|mount| IN_MEMORY.contains(&mount.f_type));
    read_only || in_memory
}

/// Checks whether the token of the forge crosses the internet unencrypted.
async fn forge(url: &str) -> Option<Finding> {
    let parsed = Url::parse(url).ok().filter(|url| url.scheme() == "http")?;
    let host = parsed.host_str()?.trim_matches(['[', ']']).to_owned();
    let shown = cut(&host, 200);
    let looked_up = tokio::net::lookup_host((host, parsed.port_or_known_default()?));
    let addresses = match tokio::time::timeout(RESOLVES_WITHIN, looked_up).await {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect::<Vec<_>>(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let fix = "use https://".to_owned();
    if addresses.is_empty() {
        let message = format!(
            "`forge.url`: `{shown}` does not resolve; if it is a public address, the forge's token \
             can be read on the way by http://"
        );
        return Some(Finding { allowed_by: None, message, fix });
    }
    let public = addresses.into_iter().find(|ip| is_public(*ip))?;
    Some(Finding {
        allowed_by: Some("--insecure-forge"),
        message: format!(
            "`forge.url`: {public} is a public address, and the forge's token can be read on the \
             way by http://"
        ),
        fix,
    })
}

fn is_public(ip: IpAddr) -> bool {
    // Between a provider and its customers (RFC 6598), also used by overlay networks.
    let shared = |ip: Ipv4Addr| ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let here = ip.is_loopback() || ip.is_unspecified() || ip.is_link_local();
            !(here || ip.is_private() || shared(ip))
        }
        IpAddr::V6(ip) => {
            let here = ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local();
            !(here || ip.is_unique_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use tinqs_ci_testing::certificates::Issued;

    use super::*;
    use crate::settings::{Env, parse};

    fn loaded(server: &str, url: &str) -> Loaded {
        let text = format!("[forge]\nurl = \"{url}\"\n{server}");
        parse(&text, Some(Path::new("ci.toml")), &Env::new()).expect("valid")
    }

    /// Returns what is found for every user that runs this test.
    async fn findings(loaded: &Loaded) -> Vec<Finding> {
        let mut found = super::findings(loaded).await;
        found.retain(|finding| finding.allowed_by != Some("--insecure-root"));
        found
    }

    async fn allowed_by(loaded: &Loaded) -> Vec<Option<&'static str>> {
        findings(loaded).await.into_iter().map(|finding| finding.allowed_by).collect()
    }

    #[test]
    fn root_needs_another_user_for_the_jobs() {
        let settings = |more: &str| loaded(more, "http://127.0.0.1:3000").settings;
        let finding = root(&settings(""), true).expect("jobs would be root");
        assert!(Insecure { root: true, ..Insecure::default() }.allows(&finding));
        assert!(!Insecure::default().allows(&finding));
        assert_eq!(root(&settings(""), false), None);
        assert_eq!(root(&settings("[process]\nuser = \"ci-job\""), true), None);
    }

    #[tokio::test]
    async fn each_finding_is_allowed_by_its_own_argument() {
        let safe = loaded("", "http://127.0.0.1:3000");
        assert_eq!(findings(&safe).await, []);
        let open = loaded("[server]\napi = \"0.0.0.0:8081\"", "http://10.0.0.5");
        assert_eq!(allowed_by(&open).await, [Some("--insecure-api")]);
        let short = "webhook_secret = [\"long-enough\", \"short\"]\n[[server.token]]\nname = \"a\"\n\
                     secret = \"1234567\"\nmay = \"read\"";
        let short = loaded(short, "https://1.1.1.1");
        assert_eq!(allowed_by(&short).await, [Some("--insecure-secrets"); 2]);
        let plain = loaded("", "http://1.1.1.1");
        assert_eq!(allowed_by(&plain).await, [Some("--insecure-forge")]);
        let finding = &findings(&plain).await[0];
        assert!(Insecure { forge: true, ..Insecure::default() }.allows(finding));
        let others = Insecure { api: true, secrets: true, files: true, forge: false, root: true };
        assert!(!others.allows(finding));
    }

    #[tokio::test]
    async fn with_tls_other_hosts_may_reach_the_api_and_the_key_is_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let [cert, key] = Issued::self_signed(&["ci"], false).write(folder.path());
        let (cert, key) = (cert.display(), key.display());
        let server = format!(
            "[server]\napi = \"0.0.0.0:8081\"\n[server.tls]\ncert = \"{cert}\"\nkey = \"{key}\""
        );
        let secured = loaded(&server, "http://127.0.0.1:3000");
        assert_eq!(findings(&secured).await, []);
        let tls = secured.settings.server.tls.as_ref().expect("configured");
        for path in [folder.path(), tls.key.as_path()] {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(path, mode).expect("set");
        }
        let found = findings(&secured).await;
        assert!(found[0].message.starts_with("`server.tls.key`: every user"), "{found:?}");
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for ip in ["1.1.1.1", "2606:4700::1", "::ffff:8.8.8.8"] {
            assert!(is_public(ip.parse().expect("an address")), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "169.254.1.1",
            "100.100.1.1",
            "fd00::1",
            "fe80::1",
            "::1",
        ] {
            assert!(!is_public(ip.parse().expect("an address")), "{ip}");
        }
    }

    #[test]
    fn a_file_is_open_only_if_its_folders_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
        };
        let path = folder.path().join("token");
        std::fs::write(&path, "word").expect("written");
        let top = folder.path().parent().expect("a parent").canonicalize().expect("there");
        let file = SecretFile { key: "forge.token".to_owned(), path: path.clone() };
        let checked = || file_below(&top, &file);
        mode(&path, 0o644);
        mode(folder.path(), 0o700);
        assert_eq!(checked(), None, "the folder is closed");
        mode(folder.path(), 0o755);
        let finding = checked().expect("everybody reads it");
        assert!(finding.message.contains("`forge.token`"), "{finding:?}");
        assert!(!finding.message.contains("word"), "{finding:?}");
        mode(&path, 0o640);
        assert_eq!(checked(), None);
    }

    /// Returns the mounts that the kernel lists: the point, the device, and whether it is read-only
    /// or in memory.
    fn mounts() -> Vec<(String, String, bool)> {
        let listed = std::fs::read_to_string("/proc/self/mountinfo").expect("on Linux");
        let mount = |line: &str| {
            let (mount, system) = line.split_once(" - ")?;
            let (mount, system) = (mount.split(' '), system.split(' '));
            let (mount, system): (Vec<&str>, Vec<&str>) = (mount.collect(), system.collect());
            let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
            let read_only = is_read_only(mount.get(5)?) || is_read_only(system.get(2)?);
            let in_memory = matches!(*system.first()?, "tmpfs" | "ramfs" | "devtmpfs");
            let (device, point) = (*mount.get(2)?, *mount.get(4)?);
            Some((point.to_owned(), device.to_owned(), read_only || in_memory))
        };
        listed.lines().filter_map(mount).collect()
    }

    #[test]
    fn mounts_of_a_manager_are_those_that_the_kernel_lists_as_read_only_or_in_memory() {
        let mut seen = [0, 0];
        for (point, device, expected) in mounts() {
            let Ok(data) = std::fs::metadata(&point) else { continue };
            let (major, minor) = (rustix::fs::major(data.dev()), rustix::fs::minor(data.dev()));
            // Another mount may cover this one.
            if format!("{major}:{minor}") != device {
                continue;
            }
            assert_eq!(is_mounted_for_us(Path::new(&point)), expected, "{point}");
            seen[usize::from(expected)] += 1;
        }
        assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
    }

    #[test]
    fn a_credential_on_such_a_mount_is_only_a_warning() {
        let memory = Path::new("/dev/shm");
        if !is_mounted_for_us(memory) {
            println!("!! SKIPPED: a credential in memory: /dev/shm is no tmpfs here");
            return;
        }
        let folder = tempfile::tempdir_in(memory).expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "word").expect("written");
        for (path, mode) in [(folder.path(), 0o755), (path.as_path(), 0o644)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, mode).expect("set");
        }
        let file = SecretFile { key: "forge.token".to_owned(), path: path.clone() };
        let finding = file_below(memory, &file).expect("everybody reads it");
        assert_eq!(finding.allowed_by, None, "{finding:?}");
        assert!(Insecure::default().allows(&finding));
    }

    #[tokio::test]
    async fn a_forge_whose_name_does_not_resolve_is_only_a_warning() {
        // A label of more than 63 bytes, so that no name server is asked.
        let name = format!("{}.invalid", "a".repeat(64));
        let found = findings(&loaded("", &format!("http://{name}:3000"))).await;
        assert_eq!(found.len(), 1, "{found:?}");
        let message = format!("`forge.url`: `{name}` does not resolve");
        assert!(found[0].message.starts_with(&message), "{found:?}");
        assert_eq!(found[0].allowed_by, None);
        assert!(Insecure::default().allows(&found[0]));
        assert_eq!(findings(&loaded("", &format!("https://{name}:3000"))).await, []);
    }
}
