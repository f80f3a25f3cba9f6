//! Creates the webhook, or shows how to create it.

use std::net::IpAddr;

use reqwest::Url;
use tinqs_ci_reconciler::model::Secret;

use super::Answers;
use super::write::Files;
use crate::commands::failure::{Failure, out};
use tinqs_ci_gitea::Scope;
use tinqs_ci_gitea::client::Client;
use tinqs_ci_gitea::demand::Mode;
use tinqs_ci_gitea::version::Version;
use tinqs_ci_reconciler::text::escape;

/// Creates the webhook, or shows how.
pub(super) async fn add(
    client: &Client,
    answers: &Answers,
    secret: &Secret,
    files: &Files,
    version: &Version,
) -> Result<(), Failure> {
    let url = &answers.webhook_url;
    let done = if answers.create_webhook {
        create(client, answers, secret).await
    } else {
        out(&by_hand(answers, files))
    };
    out(&allowed(url, version))?;
    if let Some(warning) = unreachable_from(&answers.url, url, answers.mode) {
        out(warning)?;
    }
    done
}

async fn create(client: &Client, answers: &Answers, secret: &Secret) -> Result<(), Failure> {
    let url = answers.webhook_url.as_str();
    let by_hand = match answers.mode {
        Mode::Jobs => "create it manually, or omit it: the job list is read every 10s anyway",
        Mode::Push => "create it manually: push mode needs it",
    };
    // Creating a webhook is not idempotent: two webhooks would send every event twice.
    let hooks = client.hooks().await.map_err(|error| {
        Failure::failed(format!("cannot list webhooks: {}", error.message)).hint(by_hand)
    })?;
    if let Some(hook) = hooks.iter().find(|hook| hook.url == url) {
        let shown = escape(url);
        return Err(Failure::failed(format!(
            "a webhook to {shown} already exists (ID {})",
            hook.id
        ))
        .hint("its secret is unknown: delete it in Gitea, then create it again"));
    }
    match client.create_hook(url, secret, answers.mode.events()).await {
        Ok(hook) => out(&format!("created webhook {} → {}\n", hook.id, escape(url))),
        Err(error) => {
            Err(Failure::failed(format!("cannot create the webhook: {}", error.message))
                .hint(by_hand))
        }
    }
}

fn by_hand(answers: &Answers, files: &Files) -> String {
    let forge = escape(&answers.url);
    let page = match &answers.scope {
        Scope::All => format!("{forge}/-/admin/hooks (System Webhooks)"),
        Scope::User => format!("{forge}/user/settings/hooks"),
        Scope::Org(org) => format!("{forge}/org/{}/settings/hooks", escape(org)),
        Scope::Repo(owner, repo) => {
            format!("{forge}/{}/{}/settings/hooks", escape(owner), escape(repo))
        }
    };
    let (events, without) = match answers.mode {
        Mode::Jobs => ("Workflow Jobs", "Without it, jobs are found within 10s."),
        Mode::Push => (
            "Workflow Jobs, Push, Create, Delete, all of Pull Request",
            "Without it, no jobs are found.",
        ),
    };
    format!(
        "\nCreate a webhook of type Gitea at {page}:\n\
         \x20 Target URL    {}\n\
         \x20 Content type  application/json\n\
         \x20 Secret        the content of {}\n\
         \x20 Trigger on    Custom events: {events}\n\
         {without} `init --create-webhook` creates it for you.\n",
        escape(&answers.webhook_url),
        escape(&files.webhook.to_string_lossy()),
    )
}

/// The network of a host, by its name or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostLocation {
    Inside,
    Outside,
    Unknown,
}

fn host_location(url: &str) -> Option<(String, HostLocation)> {
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

/// Returns the setting that Gitea needs to deliver to private addresses.
fn allowed(url: &str, version: &Version) -> String {
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
    let is_old = version.is_older_than(1, 27);
    let section = if is_old { "[webhook]" } else { "[security]  (before 1.27: [webhook])" };
    // `private` is Gitea's name for all private addresses.
    let is_known = !url.contains(super::THIS_HOST);
    let host = if is_known { host.trim_matches(['[', ']']) } else { "private" };
    format!(
        "\n{when}\n  {section}\n  ALLOWED_HOST_LIST = external,{}\nThen restart Gitea.\n",
        escape(host)
    )
}

/// Warns if the webhook leads to loopback but the forge runs on another host.
fn unreachable_from(forge: &str, webhook: &str, mode: Mode) -> Option<&'static str> {
    let is_loopback = |url: &str| {
        let host = Url::parse(url).ok()?.host_str()?.trim_matches(['[', ']']).to_owned();
        let ip = host.parse::<IpAddr>().map(|ip| ip.is_loopback());
        Some(ip.unwrap_or(host == "localhost"))
    };
    if is_loopback(webhook)? && !is_loopback(forge)? {
        return Some(match mode {
            Mode::Jobs => {
                "\n! A Gitea on another host cannot reach this address. Use --listen 0.0.0.0:8080 \
                 and\n  --webhook-url, or omit the webhook: the job list is read every 10s anyway.\n"
            }
            Mode::Push => {
                "\n! A Gitea on another host cannot reach this address. Use --listen 0.0.0.0:8080 \
                 and\n  --webhook-url.\n"
            }
        });
    }
    None
}

#[cfg(test)]
#[allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]
mod tests {
    use expect_test::expect;

    use super::*;

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
