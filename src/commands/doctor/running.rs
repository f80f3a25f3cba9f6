//! Checks of what the running server sees, compared with what this command sees.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_gitea::client::{Access, Hook};
use tinqs_ci_reconciler::ports::check::Check;

use super::forge_answers::{ForgeAnswers, ours};
use crate::api::Health;
use crate::commands::live::{Live, Webhooks};
use crate::commands::webhook::address::{HostLocation, host_location, is_loopback, section};
use crate::settings::Settings;

/// How to make the three places of the secret the same.
const SAME_SECRET: &str = "the webhook in Gitea, forge.webhook_secret and the running server must \
                           have the same secret: run `tinqs-ci webhook remove`, then `tinqs-ci \
                           webhook add`; `tinqs-ci reload` lets the server read a changed secret";

/// Checks the running server. `answers` is this command's own view of the forge, if it asked.
pub(super) fn running_checks(
    settings: &Settings,
    live: &Live,
    answers: Option<&ForgeAnswers>,
    now: Timestamp,
) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.extend(forge_check(live, answers, now));
    checks.push(match &live.webhooks {
        Some(webhooks) => webhooks_check(settings, webhooks, answers, now),
        None => Check::warn(
            "server: webhooks",
            format!("cannot read {}/metrics", live.url),
            "set TINQS_CI_API_TOKEN to a token of the server's `server.token`",
        ),
    });
    checks
}

/// Returns a duration as `12 s`, `3 min` or `5 h`.
fn ago(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).max(SignedDuration::ZERO).as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Checks that the forge accepts the running server's calls: its token may be an older one.
fn forge_check(live: &Live, answers: Option<&ForgeAnswers>, now: Timestamp) -> Option<Check> {
    const NAME: &str = "server: forge";
    let forge = live.ready.parts.get("forge")?;
    let last = match forge.last_contact {
        Some(at) => format!("the last success was {} ago", ago(at, now)),
        None => "none has succeeded since its start".to_owned(),
    };
    let granted = answers.and_then(|answers| answers.rights.as_ref().ok());
    let granted = granted.is_some_and(|rights| rights.jobs == Access::Granted);
    if live.forge_denies().is_some() {
        let (message, fix) = if granted {
            (
                "the forge denies the running server's calls, but accepts the configured token: \
                 the server still uses another one",
                "run `tinqs-ci reload`; a token from the environment needs a restart",
            )
        } else {
            (
                "the forge denies the running server's calls: its token is not accepted, or lacks \
                 a right",
                "set a token that the forge accepts as forge.token; unless it is read from a file, run \
                 `tinqs-ci reload`",
            )
        };
        return Some(Check::fail(NAME, format!("{message}; {last}"), fix));
    }
    Some(match forge.state {
        Health::Ok => Check::ok(NAME, format!("the running server is in contact; {last}")),
        Health::Unknown => Check::ok(NAME, "the running server has not called it yet"),
        Health::Failing => {
            let kind = forge.error.as_deref().unwrap_or("unknown");
            let message = format!("the running server's calls fail ({kind}); {last}");
            Check::warn(NAME, message, "see the server's log")
        }
    })
}

/// Checks the deliveries that the running server received.
fn webhooks_check(
    settings: &Settings,
    seen: &Webhooks,
    answers: Option<&ForgeAnswers>,
    now: Timestamp,
) -> Check {
    const NAME: &str = "server: webhooks";
    let Webhooks { accepted, bad_signature, bad_payload, errors, .. } = *seen;
    let last = seen.last.map(|at| format!(", last {} ago", ago(at, now))).unwrap_or_default();
    let taken = format!("{accepted} accepted{last}");
    if bad_signature > 0 && accepted == 0 {
        let message = format!(
            "none accepted since its start, {bad_signature} refused: their signature does not match"
        );
        return Check::fail(NAME, message, SAME_SECRET);
    }
    if seen.count() == 0 {
        return nothing_arrived(settings, seen, answers);
    }
    if errors > 0 {
        let message = format!("{taken}; {errors} could not be stored");
        return Check::warn(NAME, message, "check the disk and the store; see the server's log");
    }
    if bad_signature > 0 {
        let message = format!("{taken}; {bad_signature} refused: their signature does not match");
        return Check::warn(NAME, message, SAME_SECRET);
    }
    if bad_payload > 0 {
        let message =
            format!("{taken}; {bad_payload} refused: Gitea does not send such deliveries");
        return Check::warn(NAME, message, "check what else sends requests to this address");
    }
    Check::ok(NAME, taken)
}

/// Without deliveries: jobs that only the poll found show that they do not arrive.
fn nothing_arrived(settings: &Settings, seen: &Webhooks, answers: Option<&ForgeAnswers>) -> Check {
    const NAME: &str = "server: webhooks";
    let hooks = answers.and_then(|answers| answers.hooks.as_ref().ok());
    let hook = hooks.and_then(|hooks| ours(settings, hooks)).filter(|hook| hook.active);
    let (Some(hook), true) = (hook, seen.found_by_poll > 0) else {
        return Check::ok(NAME, "none has arrived since its start");
    };
    let message = format!(
        "none has arrived, although {} jobs were found by polling: Gitea cannot deliver to {}",
        seen.found_by_poll, hook.url
    );
    Check::fail(NAME, message, not_delivered(settings, hook, answers))
}

/// Returns the likely cause why the forge does not deliver.
fn not_delivered(settings: &Settings, hook: &Hook, answers: Option<&ForgeAnswers>) -> String {
    let seen = "see *Recent deliveries* of the webhook in Gitea";
    if is_loopback(&hook.url) == Some(true) && is_loopback(&settings.forge.url) == Some(false) {
        return format!(
            "the address is this host's own, but Gitea runs elsewhere: let the server listen on an \
             address that Gitea reaches, and add a webhook with that; {seen}"
        );
    }
    let Some((host, location)) = host_location(&hook.url) else { return seen.to_owned() };
    if location == HostLocation::Outside {
        return format!("check firewalls, proxies and certificates on the way; {seen}");
    }
    let version = answers.and_then(|answers| answers.version.as_ref().ok());
    let section = version.map_or("[webhook]", section);
    let host = host.trim_matches(['[', ']']);
    format!(
        "by default Gitea does not deliver to loopback and private addresses: in its app.ini, \
         {section}, set ALLOWED_HOST_LIST = external,{host} and restart Gitea; {seen}, which then \
         say `webhook can only call allowed HTTP servers`"
    )
}

#[cfg(test)]
#[allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use expect_test::{Expect, expect};
    use tinqs_ci_gitea::client::Rights;
    use tinqs_ci_gitea::version::Version;

    use super::super::Report;
    use super::*;
    use crate::api::{Part, Ready};
    use crate::settings;

    fn now() -> Timestamp {
        "2026-08-01T10:00:00Z".parse().expect("a time")
    }

    fn before(seconds: i64) -> Timestamp {
        now() - SignedDuration::from_secs(seconds)
    }

    fn settings() -> Settings {
        let text = "[forge]\nurl = \"http://10.0.0.9:3000\"\ntoken = \"t\"\n";
        settings::parse(text, Some(Path::new("x")), &settings::Env::new()).expect("good").settings
    }

    fn answers(url: &str, jobs: Access) -> ForgeAnswers {
        let hook =
            Hook { id: 1, url: url.into(), events: vec!["workflow_job".into()], active: true };
        ForgeAnswers {
            version: Ok(Version::parse("1.26.4")),
            rights: Ok(Rights { jobs, runners: Access::Granted }),
            hooks: Ok(vec![hook]),
            ..ForgeAnswers::none("not asked")
        }
    }

    fn live(state: Health, error: Option<&str>, webhooks: Webhooks) -> Live {
        let forge = Part {
            state,
            last_contact: Some(before(300)),
            age_seconds: Some(300),
            error: error.map(str::to_owned),
        };
        let parts = BTreeMap::from([("forge".to_owned(), forge)]);
        let url = "http://127.0.0.1:8080".to_owned();
        Live { url, ready: Ready { ready: true, parts }, webhooks: Some(webhooks) }
    }

    #[track_caller]
    fn check(live: &Live, answers: &ForgeAnswers, expected: &Expect) {
        let checks = running_checks(&settings(), live, Some(answers), now());
        expected.assert_eq(&Report::new(checks).text());
    }

    const URL: &str = "http://10.0.0.5:8080/webhook";

    #[test]
    fn a_server_that_receives_deliveries_passes() {
        let webhooks = Webhooks { accepted: 12, last: Some(before(40)), ..Webhooks::default() };
        check(
            &live(Health::Ok, None, webhooks),
            &answers(URL, Access::Granted),
            &expect![[r#"
                ✓ server: forge           the running server is in contact; the last success was 5 min ago
                ✓ server: webhooks        12 accepted, last 40 s ago
                2 passed, 0 warnings, 0 failed
            "#]],
        );
    }

    #[test]
    fn a_stale_token_and_a_wrong_secret_fail_with_their_cause() {
        let webhooks = Webhooks { bad_signature: 3, ..Webhooks::default() };
        check(
            &live(Health::Failing, Some("denied"), webhooks),
            &answers(URL, Access::Granted),
            &expect![[r#"
                ✗ server: forge           the forge denies the running server's calls, but accepts the configured token: the server still uses another one; the last success was 5 min ago
                  fix: run `tinqs-ci reload`; a token from the environment needs a restart
                ✗ server: webhooks        none accepted since its start, 3 refused: their signature does not match
                  fix: the webhook in Gitea, forge.webhook_secret and the running server must have the same secret: run `tinqs-ci webhook remove`, then `tinqs-ci webhook add`; `tinqs-ci reload` lets the server read a changed secret
                0 passed, 0 warnings, 2 failed
            "#]],
        );
    }

    #[test]
    fn deliveries_that_do_not_arrive_name_the_host_list() {
        let webhooks = Webhooks { found_by_poll: 2, ..Webhooks::default() };
        check(
            &live(Health::Failing, Some("denied"), webhooks),
            &answers(URL, Access::Rejected("401".into())),
            &expect![[r#"
                ✗ server: forge           the forge denies the running server's calls: its token is not accepted, or lacks a right; the last success was 5 min ago
                  fix: set a token that the forge accepts as forge.token; unless it is read from a file, run `tinqs-ci reload`
                ✗ server: webhooks        none has arrived, although 2 jobs were found by polling: Gitea cannot deliver to http://10.0.0.5:8080/webhook
                  fix: by default Gitea does not deliver to loopback and private addresses: in its app.ini, [webhook], set ALLOWED_HOST_LIST = external,10.0.0.5 and restart Gitea; see *Recent deliveries* of the webhook in Gitea, which then say `webhook can only call allowed HTTP servers`
                0 passed, 0 warnings, 2 failed
            "#]],
        );
    }

    #[test]
    fn the_fix_depends_on_the_address_of_the_webhook() {
        let fix = |url: &str| {
            let answers = answers(url, Access::Granted);
            let webhooks = Webhooks { found_by_poll: 1, ..Webhooks::default() };
            webhooks_check(&settings(), &webhooks, Some(&answers), now()).fix.unwrap_or_default()
        };
        assert!(fix("http://127.0.0.1:8080/webhook").contains("Gitea runs elsewhere"));
        assert!(fix("https://93.184.216.34/webhook").contains("firewalls"));
        assert!(fix("http://ci.lan:8080/webhook").contains("ALLOWED_HOST_LIST = external,ci.lan"));
        // Without a webhook, or before any job, nothing can be concluded.
        let none = Webhooks::default();
        let quiet = webhooks_check(&settings(), &none, Some(&answers(URL, Access::Granted)), now());
        assert_eq!((quiet.message.as_str(), quiet.fix), ("none has arrived since its start", None));
    }

    #[test]
    fn some_refused_deliveries_are_a_warning() {
        let seen = Webhooks { accepted: 5, last: Some(before(7300)), ..Webhooks::default() };
        let message = |seen: &Webhooks| webhooks_check(&settings(), seen, None, now()).message;
        let refused = Webhooks { bad_signature: 2, ..seen };
        assert_eq!(
            message(&refused),
            "5 accepted, last 2 h ago; 2 refused: their signature does not match"
        );
        let failed = Webhooks { errors: 1, ..seen };
        assert_eq!(message(&failed), "5 accepted, last 2 h ago; 1 could not be stored");
    }
}
