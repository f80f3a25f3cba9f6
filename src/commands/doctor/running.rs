//! Checks of what the running server sees, compared with what this command sees.

use jiff::Timestamp;
use tinqs_ci_gitea::client::{Access, Hook};
use tinqs_ci_reconciler::ports::check::Check;

use super::forge_answers::{ForgeAnswers, ours};
use crate::api::Health;
use crate::api::status::{Service, ServiceFailure, Webhooks};
use crate::commands::live::Live;
use crate::commands::webhook::address::{HostLocation, host_location, is_loopback, section};
use crate::settings::Settings;
use crate::words::ago;
use crate::words::foreign::FOREIGN_MACHINE;
use crate::words::newer::NEWER_RECORD;
use crate::words::reasons::PRICE_UNKNOWN;
use crate::words::services::ServiceReason;

/// The remedy if the three places of the secret differ.
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
    let Some(status) = &live.status else {
        return vec![Check::warn(
            "server",
            format!("cannot read {}/v1/status", live.url),
            "set TINQS_CI_API_TOKEN to a token of the server's `server.token`",
        )];
    };
    let mut checks: Vec<Check> =
        status.services.iter().filter_map(|service| service_check(service, answers, now)).collect();
    let unpriced = status.attention.iter().filter(|one| one.reason == PRICE_UNKNOWN);
    checks.extend(unpriced.map(|one| {
        Check::warn("server: budgets", format!("{}: {}", one.subject, one.message), &one.fix)
    }));
    let foreign = status.attention.iter().filter(|told| told.reason == FOREIGN_MACHINE);
    checks.extend(foreign.map(|told| Check::warn("server: machines", &told.message, &told.fix)));
    let newer = status.attention.iter().filter(|told| told.reason == NEWER_RECORD);
    checks.extend(newer.map(|told| Check::warn("server: records", &told.message, &told.fix)));
    // A server that accepts none has nothing to tell.
    let webhooks = status.webhooks.as_ref();
    checks.extend(webhooks.map(|webhooks| webhooks_check(settings, webhooks, answers, now)));
    checks
}

/// Checks what the running server sees of a service. All is said of the forge, whose token may be an
/// older one; of the others only failures.
fn service_check(
    service: &Service,
    answers: Option<&ForgeAnswers>,
    now: Timestamp,
) -> Option<Check> {
    let name = match service.name.as_str() {
        "forge" => "server: forge",
        "cloud" => "server: cloud",
        "store" => "server: store",
        "queue" => "server: queue",
        _ => "server: service",
    };
    let last = match service.last_contact {
        Some(at) => format!("the last success was {}", ago(at, now)),
        None => "none has succeeded since its start".to_owned(),
    };
    if let Some(failure) = &service.failure {
        if failure.reason == ServiceReason::ForgeDenied.as_str() {
            return Some(denied(name, failure, answers, &last));
        }
        return Some(Check::warn(name, format!("{}; {last}", failure.message), &failure.fix));
    }
    let is_forge = service.name == "forge";
    is_forge.then(|| match service.state {
        Health::Unknown => Check::ok(name, "the running server has not called it yet"),
        Health::Ok | Health::Failing => {
            Check::ok(name, format!("the running server is in contact; {last}"))
        }
    })
}

/// The forge denies the running server's calls: the configured token may be a newer one.
fn denied(
    name: &'static str,
    failure: &ServiceFailure,
    answers: Option<&ForgeAnswers>,
    last: &str,
) -> Check {
    let granted = answers.and_then(|answers| answers.rights.as_ref().ok());
    let granted = granted.is_some_and(|rights| rights.jobs == Access::Granted);
    if granted {
        let message = "the forge denies the running server's calls, but accepts the configured \
                       token: the server still uses another one";
        let fix = "run `tinqs-ci reload`; a token from the environment needs a restart";
        return Check::fail(name, format!("{message}; {last}"), fix);
    }
    let message = format!("the running server says: {}; {last}", failure.message);
    Check::fail(name, message, &failure.fix)
}

/// Checks the deliveries that the running server received.
fn webhooks_check(
    settings: &Settings,
    seen: &Webhooks,
    answers: Option<&ForgeAnswers>,
    now: Timestamp,
) -> Check {
    const NAME: &str = "server: webhooks";
    let Webhooks { accepted, ignored, refused, unsigned, failed, .. } = *seen;
    let accepted = accepted + ignored;
    let last = seen.last_accepted.map(|at| format!(", last {}", ago(at, now))).unwrap_or_default();
    let taken = format!("{accepted} accepted{last}");
    if unsigned > 0 && accepted == 0 {
        let message = format!(
            "none accepted since its start, {unsigned} refused: their signature does not match"
        );
        return Check::fail(NAME, message, SAME_SECRET);
    }
    if seen.count() == 0 {
        return nothing_arrived(settings, seen, answers);
    }
    if failed > 0 {
        let message = format!("{taken}; {failed} could not be stored");
        return Check::warn(NAME, message, "check the disk and the store; see the server's log");
    }
    if unsigned > 0 {
        let message = format!("{taken}; {unsigned} refused: their signature does not match");
        return Check::warn(NAME, message, SAME_SECRET);
    }
    if refused > 0 {
        let message = format!("{taken}; {refused} refused: Gitea does not send such deliveries");
        return Check::warn(NAME, message, "check what else sends requests to this address");
    }
    Check::ok(NAME, taken)
}

/// Without deliveries: jobs that only the poll found show that they do not arrive.
fn nothing_arrived(settings: &Settings, seen: &Webhooks, answers: Option<&ForgeAnswers>) -> Check {
    const NAME: &str = "server: webhooks";
    let hooks = answers.and_then(|answers| answers.hooks.as_ref().ok());
    let hook = hooks.and_then(|hooks| ours(settings, hooks)).filter(|hook| hook.active);
    let (Some(hook), true) = (hook, seen.found_by_polling > 0) else {
        return Check::ok(NAME, "none has arrived since its start");
    };
    let message = format!(
        "none has arrived, although {} jobs were found by polling: Gitea cannot deliver to {}",
        seen.found_by_polling, hook.url
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
    use std::path::Path;

    use expect_test::{Expect, expect};
    use jiff::SignedDuration;
    use tinqs_ci_gitea::client::Rights;
    use tinqs_ci_gitea::version::Version;

    use super::super::Report;
    use super::*;
    use crate::api::status::{Attention, StatusView};
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

    /// A server whose forge fails with this reason, or does not.
    fn live(reason: Option<&str>, webhooks: Webhooks) -> Live {
        let failure = reason.map(|reason| ServiceFailure {
            reason: reason.to_owned(),
            since: before(200),
            operation: "waiting".to_owned(),
            message: "the forge does not accept the token (401)".to_owned(),
            fix: "create a new token".to_owned(),
        });
        let state = if failure.is_some() { Health::Failing } else { Health::Ok };
        let (name, last_contact) = ("forge".to_owned(), Some(before(300)));
        let status = StatusView {
            now: now(),
            started_at: before(900),
            attention: Vec::new(),
            services: vec![Service { name, state, last_contact, failure }],
            webhooks: Some(webhooks),
            classes: Vec::new(),
            waits: None,
            machines_listed_at: None,
            spend: None,
            unserved_jobs: None,
            unserved: Vec::new(),
            lost_machines: Vec::new(),
            pauses: Vec::new(),
            breakers: Vec::new(),
            failing_runs: Vec::new(),
            open_drift: None,
            drift: Vec::new(),
        };
        Live { url: "http://127.0.0.1:8080".to_owned(), status: Some(status) }
    }

    #[track_caller]
    fn check(live: &Live, answers: &ForgeAnswers, expected: &Expect) {
        let checks = running_checks(&settings(), live, Some(answers), now());
        expected.assert_eq(&Report::new(checks).text());
    }

    const URL: &str = "http://10.0.0.5:8080/webhook";

    #[test]
    fn a_server_that_receives_deliveries_passes() {
        let webhooks =
            Webhooks { accepted: 12, last_accepted: Some(before(40)), ..Webhooks::default() };
        check(
            &live(None, webhooks),
            &answers(URL, Access::Granted),
            &expect![[r#"
                ✓ server: forge           the running server is in contact; the last success was 5 min ago
                ✓ server: webhooks        12 accepted, last 40 s ago
                2 passed, 0 warnings, 0 failed
            "#]],
        );
    }

    #[test]
    fn machines_that_a_budget_leaves_out_are_a_warning() {
        let mut live = live(None, Webhooks { accepted: 1, ..Webhooks::default() });
        let told = |reason: &str| Attention {
            reason: reason.to_owned(),
            subject: "class linux".to_owned(),
            since: None,
            message: "the price of big (spot) is not known".to_owned(),
            fix: "allow it".to_owned(),
            needs_person: false,
        };
        let status = live.status.as_mut().expect("a status");
        status.attention = vec![told("AtLimit"), told(PRICE_UNKNOWN)];
        let checks = running_checks(&settings(), &live, None, now());
        let text = Report::new(checks).text();
        let told = "class linux: the price of big (spot) is not known\n";
        for part in ["server: budgets", told, "fix: allow it"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(text.matches("class linux").count(), 1, "{text}");
    }

    #[test]
    fn a_stale_token_and_a_wrong_secret_fail_with_their_cause() {
        let webhooks = Webhooks { refused: 3, unsigned: 3, ..Webhooks::default() };
        check(
            &live(Some("ForgeDenied"), webhooks),
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
        let webhooks = Webhooks { found_by_polling: 2, ..Webhooks::default() };
        check(
            &live(Some("ForgeDenied"), webhooks),
            &answers(URL, Access::Rejected("401".into())),
            &expect![[r#"
                ✗ server: forge           the running server says: the forge does not accept the token (401); the last success was 5 min ago
                  fix: create a new token
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
            let webhooks = Webhooks { found_by_polling: 1, ..Webhooks::default() };
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
    fn machines_that_only_carry_the_tags_are_named() {
        let mut live = live(None, Webhooks { accepted: 1, ..Webhooks::default() });
        let ids = ["i-1", "i-2"].map(|id| tinqs_ci_reconciler::model::MachineId(id.to_owned()));
        if let Some(status) = &mut live.status {
            status.attention.push(crate::api::status::Attention {
                reason: FOREIGN_MACHINE.to_owned(),
                subject: "machines".to_owned(),
                since: None,
                message: crate::words::foreign::sentence(&ids),
                fix: crate::words::foreign::FIX.to_owned(),
                needs_person: false,
            });
        }
        let checks = running_checks(&settings(), &live, None, now());
        let found = checks.iter().find(|check| check.name == "server: machines").expect("told");
        assert!(found.message.starts_with("i-1, i-2 carry the tags"), "{found:?}");
        assert!(found.fix.as_ref().is_some_and(|fix| fix.contains("who tagged them")));
    }

    #[test]
    fn a_server_that_does_not_say_needs_the_token() {
        let live = Live { url: "http://127.0.0.1:8080".to_owned(), status: None };
        check(
            &live,
            &answers(URL, Access::Granted),
            &expect![[r#"
                ! server                  cannot read http://127.0.0.1:8080/v1/status
                  fix: set TINQS_CI_API_TOKEN to a token of the server's `server.token`
                0 passed, 1 warning, 0 failed
            "#]],
        );
    }

    #[test]
    fn some_refused_deliveries_are_a_warning() {
        let seen = Webhooks {
            accepted: 3,
            ignored: 2,
            last_accepted: Some(before(7300)),
            ..Webhooks::default()
        };
        let message = |seen: &Webhooks| webhooks_check(&settings(), seen, None, now()).message;
        let refused = Webhooks { refused: 2, unsigned: 2, ..seen.clone() };
        assert_eq!(
            message(&refused),
            "5 accepted, last 2 h ago; 2 refused: their signature does not match"
        );
        let failed = Webhooks { refused: 1, failed: 1, ..seen };
        assert_eq!(message(&failed), "5 accepted, last 2 h ago; 1 could not be stored");
    }
}
