//! Addresses of webhooks: whether the forge delivers to them, and where they are configured.

use std::net::{IpAddr, SocketAddr};

use reqwest::Url;

use crate::commands::failure::Failure;
use crate::settings::{Server, address};
use tinqs_ci_gitea::Scope;
use tinqs_ci_gitea::demand::Mode;
use tinqs_ci_gitea::version::Version;
use tinqs_ci_reconciler::text::{cut, escape};

/// A placeholder for an address that only the user knows.
pub(in crate::commands) const THIS_HOST: &str = "THIS-HOST";

/// Returns the webhook's URL at this address; with a placeholder if it is no single host's.
pub(in crate::commands) fn default_url(listen: SocketAddr) -> String {
    let host = match listen.ip() {
        ip if ip.is_unspecified() => THIS_HOST.to_owned(),
        ip if ip.is_ipv6() => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    format!("http://{host}:{}/webhook", listen.port())
}

/// Returns the webhook's URL at the configured address: with TLS by a name of the certificate, which
/// the forge verifies.
pub(in crate::commands) fn own_url(server: &Server) -> String {
    let plain = default_url(server.webhooks);
    let Some(tls) = &server.tls else { return plain };
    let mut names = tls.identity.names().iter().filter(|name| !name.starts_with("*."));
    match names.next() {
        Some(name) if name.contains(':') => {
            format!("https://[{name}]:{}/webhook", server.webhooks.port())
        }
        Some(name) => format!("https://{name}:{}/webhook", server.webhooks.port()),
        None => plain.replacen("http://", "https://", 1),
    }
}

/// Parses a webhook's URL; one without a path gets `/webhook`. Messages name the `flag`.
pub(in crate::commands) fn webhook_address(text: &str, flag: &str) -> Result<String, Failure> {
    let url = address(text).map_err(|_| {
        Failure::usage(format!("{flag}: \"{}\" is not an address", cut(text, 100)))
            .hint("for example http://10.0.0.5:8080/webhook")
    })?;
    let has_path = Url::parse(&url).is_ok_and(|url| url.path() != "/");
    Ok(if has_path { url } else { format!("{url}/webhook") })
}

/// Returns the page of the forge that lists the webhooks of a scope.
pub(in crate::commands) fn page(forge: &str, scope: &Scope) -> String {
    let forge = escape(forge);
    match scope {
        Scope::All => format!("{forge}/-/admin/hooks"),
        Scope::User => format!("{forge}/user/settings/hooks"),
        Scope::Org(org) => format!("{forge}/org/{}/settings/hooks", escape(org)),
        Scope::Repo(owner, repo) => {
            format!("{forge}/{}/{}/settings/hooks", escape(owner), escape(repo))
        }
    }
}

/// The network of a host, by its name or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum HostLocation {
    Inside,
    Outside,
    Unknown,
}

/// Returns the host of a URL, and in which network it is.
pub(in crate::commands) fn host_location(url: &str) -> Option<(String, HostLocation)> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?.to_owned();
    let bare = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let host_location = match bare.map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) if ip.is_loopback() || ip.is_private() || ip.is_link_local() => {
            HostLocation::Inside
        }
        Ok(IpAddr::V6(ip)) if ip.is_loopback() || ip.is_unique_local() => HostLocation::Inside,
        Ok(_) => HostLocation::Outside,
        Err(_) if host == "localhost" => HostLocation::Inside,
        Err(_) => HostLocation::Unknown,
    };
    Some((host, host_location))
}

/// The section of Gitea's `app.ini` that holds `ALLOWED_HOST_LIST`.
pub(in crate::commands) fn section(version: &Version) -> &'static str {
    let is_old = version.is_older_than(1, 27);
    if is_old { "[webhook]" } else { "[security]  (before 1.27: [webhook])" }
}

/// Returns the setting that Gitea needs to deliver to private addresses.
pub(in crate::commands) fn allowed(url: &str, version: &Version) -> String {
    let Some((host, host_location)) = host_location(url) else { return String::new() };
    let when = match host_location {
        HostLocation::Outside => return String::new(),
        HostLocation::Inside => {
            "Gitea delivers to private addresses only with this setting in app.ini:"
        }
        HostLocation::Unknown => {
            "If this is a private address, Gitea needs this setting in app.ini:"
        }
    };
    // `private` is Gitea's name for all private addresses.
    let is_known = !url.contains(THIS_HOST);
    let host = if is_known { host.trim_matches(['[', ']']) } else { "private" };
    format!(
        "\n{when}\n  {}\n  ALLOWED_HOST_LIST = external,{}\nThen restart Gitea.\n",
        section(version),
        escape(host)
    )
}

/// Whether the URL leads to the host on which it is used.
pub(in crate::commands) fn is_loopback(url: &str) -> Option<bool> {
    let host = Url::parse(url).ok()?.host_str()?.trim_matches(['[', ']']).to_owned();
    let ip = host.parse::<IpAddr>().map(|ip| ip.is_loopback());
    Some(ip.unwrap_or(host == "localhost"))
}

/// Warns if the webhook leads to loopback but the forge runs on another host.
pub(in crate::commands) fn unreachable_from(
    forge: &str,
    webhook: &str,
    mode: Mode,
) -> Option<&'static str> {
    if is_loopback(webhook)? && !is_loopback(forge)? {
        return Some(match mode {
            Mode::Jobs => {
                "\n! A Gitea on another host cannot reach this address. Let the server listen on one \
                 that it can\n  reach (0.0.0.0:8080 for all) and name that in the webhook's URL, or \
                 omit the webhook: the job\n  list is read every 10s anyway.\n"
            }
            Mode::Push => {
                "\n! A Gitea on another host cannot reach this address. Let the server listen on one \
                 that it can\n  reach (0.0.0.0:8080 for all) and name that in the webhook's URL.\n"
            }
        });
    }
    None
}

#[cfg(test)]
#[allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]
mod tests {
    use std::path::Path;

    use expect_test::expect;
    use tinqs_ci_testing::certificates::Issued;

    use super::*;
    use crate::settings::{Env, parse};

    #[test]
    fn with_tls_the_url_has_a_name_of_the_certificate() {
        let url = |names: &[&str]| {
            let folder = tempfile::tempdir().expect("a folder");
            let [cert, key] = Issued::self_signed(names, false).write(folder.path());
            let text = format!(
                "[forge]\nurl = \"http://x\"\n[server]\nwebhooks = \"10.0.0.5:8443\"\n\
                 [server.tls]\ncert = \"{}\"\nkey = \"{}\"",
                cert.display(),
                key.display()
            );
            let loaded = parse(&text, Some(Path::new("ci.toml")), &Env::new()).expect("valid");
            own_url(&loaded.settings.server)
        };
        assert_eq!(
            url(&["*.example.com", "ci.example.com"]),
            "https://ci.example.com:8443/webhook"
        );
        assert_eq!(url(&["fd00::5"]), "https://[fd00::5]:8443/webhook");
        assert_eq!(url(&[]), "https://10.0.0.5:8443/webhook");
    }

    #[test]
    fn private_addresses_need_a_setting_of_gitea() {
        let old = Version::parse("1.26.4");
        expect![[r#"

            Gitea delivers to private addresses only with this setting in app.ini:
              [webhook]
              ALLOWED_HOST_LIST = external,127.0.0.1
            Then restart Gitea.
        "#]]
        .assert_eq(&allowed("http://127.0.0.1:8080/webhook", &old));
        expect![[r#"

            Gitea delivers to private addresses only with this setting in app.ini:
              [security]  (before 1.27: [webhook])
              ALLOWED_HOST_LIST = external,::1
            Then restart Gitea.
        "#]]
        .assert_eq(&allowed("http://[::1]:8080/webhook", &Version::parse("1.27.0")));
        expect![[r#"

            If this is a private address, Gitea needs this setting in app.ini:
              [webhook]
              ALLOWED_HOST_LIST = external,ci.lan
            Then restart Gitea.
        "#]]
        .assert_eq(&allowed("http://ci.lan:8080/webhook", &old));
        assert_eq!(allowed("http://93.184.216.34/webhook", &old), "");
    }

    #[test]
    fn a_loopback_webhook_is_unreachable_from_another_host() {
        let local = "http://127.0.0.1:8080/webhook";
        let said = unreachable_from;
        let far = "https://git.example.com";
        assert!(said(far, local, Mode::Jobs).is_some_and(|said| said.contains("omit the webhook")));
        assert!(said(far, local, Mode::Push).is_some_and(|said| !said.contains("omit")));
        assert!(said("http://localhost:3000", local, Mode::Jobs).is_none());
        assert!(said(far, "http://10.0.0.5/webhook", Mode::Jobs).is_none());
    }
}
