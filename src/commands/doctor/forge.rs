//! The forge: what it answers, and what follows from it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Class, HOST, label_name, serving};

use super::facts::{Facts, ours};
use super::push;
use crate::settings::Settings;
use tinqs_ci_gitea::client::{Access, Hook, Rights};
use tinqs_ci_gitea::demand::{self, Refusal};
use tinqs_ci_gitea::version::Version;
use tinqs_ci_gitea::{Config, Scope};
use tinqs_ci_reconciler::ports::check::Check;

/// What follows from what the forge answered.
pub fn forge_checks(settings: &Settings, facts: &Facts) -> Vec<Check> {
    let forge = &settings.forge;
    let version = match &facts.version {
        Ok(version) => version,
        Err(why) => {
            return vec![Check::fail(
                "forge",
                format!("{} is not reached: {why}", forge.url),
                "is `forge.url` right, and the server up?",
            )];
        }
    };
    if let Some(refusal) = demand::unsupported(forge.demand, version) {
        let seen = format!("{}: {refusal}", forge.url);
        return vec![Check::fail("forge", seen, Refusal::OTHER_SERVER)];
    }
    let by_push = push::chosen(settings, facts);
    let mut checks = vec![match &by_push {
        Some(_) => Check::ok("forge", format!("{} is {version}", forge.url)),
        None => version_check(forge, version),
    }];
    checks.extend(facts.ahead.map(clock_check));
    checks.extend(by_push.as_ref().map(|choice| push::demand_check(choice, version)));
    let rights = rights_checks(forge, &facts.rights);
    // The job list is not read in push mode.
    checks.extend(rights.into_iter().skip(usize::from(by_push.is_some())));
    checks.push(registration_check(forge, &facts.registration));
    checks.push(match by_push {
        Some(_) => push::webhook_check(settings, &facts.hooks),
        None => webhook_check(settings, &facts.hooks),
    });
    if forge.webhook_secret.is_none() {
        checks.push(Check::warn(
            "webhook secret",
            "none: webhooks are mere hints that bring the next poll forward",
            "set forge.webhook_secret here and at the webhook",
        ));
    }
    checks.extend(facts.queued.as_ref().ok().map(|jobs| labels_check(&settings.classes, jobs)));
    checks
}

fn version_check(forge: &Config, version: &Version) -> Check {
    const NAME: &str = "forge";
    let seen = format!("{} is {version}", forge.url);
    match version {
        old if old.is_older_than(1, 25) => {
            Check::fail(NAME, seen, "1.25 is the first that lists waiting jobs: update the server")
        }
        Version::Gitea { .. } => Check::ok(NAME, seen),
        Version::Forgejo { .. } => Check::warn(
            NAME,
            seen,
            "not supported: its lists of jobs and runners may differ from Gitea's; try the demo job",
        ),
        Version::Unknown { .. } => {
            Check::warn(NAME, seen, "is `forge.url` that of a Gitea server, 1.25 or newer?")
        }
    }
}

fn clock_check(ahead: SignedDuration) -> Check {
    const NAME: &str = "clock";
    let seconds = ahead.as_secs();
    let fix = "let both hosts keep time by NTP";
    let message = format!("the forge's clock is {seconds} s from ours");
    match seconds.abs() {
        0..=2 => Check::ok(NAME, "the forge's and ours agree"),
        3..=30 => Check::ok(NAME, message),
        31..=300 => Check::warn(NAME, message, fix),
        _ => Check::fail(NAME, message, fix),
    }
}

/// What a token of this scope needs, for a fix.
fn wanted(scope: &Scope) -> &'static str {
    match scope {
        Scope::All => {
            "scope = \"all\" needs a token of an administrator (write:admin), or set `scope`"
        }
        Scope::User => "the token needs write:user",
        Scope::Org(_) => "the token needs write:organization, of an owner of it",
        Scope::Repo(..) => "the token needs write:repository, of an administrator of it",
    }
}

fn rights_checks(forge: &Config, rights: &Result<Rights, String>) -> Vec<Check> {
    let rights = match rights {
        Ok(rights) => rights,
        Err(why) => {
            return vec![Check::fail("token", why, "is it up? Try again")];
        }
    };
    let fix = || {
        if forge.token.is_none() {
            "set forge.token, or GITEA_TOKEN in the environment".to_owned()
        } else {
            wanted(&forge.scope).to_owned()
        }
    };
    let jobs = match &rights.jobs {
        Access::Granted => Check::ok("token: job list", "may be read"),
        Access::Denied(why) => Check::fail("token: job list", why, fix()),
        Access::Missing => Check::fail(
            "token: job list",
            "the server has no such list, or the scope names what is not there",
            "is `forge.scope` right, and the server 1.25 or newer?",
        ),
    };
    let runners = match &rights.runners {
        Access::Granted => Check::ok("token: runner list", "may be read"),
        Access::Denied(why) => Check::warn("token: runner list", why, fix()),
        Access::Missing => Check::warn(
            "token: runner list",
            "the server has no such list: what becomes of registrations is not seen",
            "is `forge.scope` right, and the server 1.25 or newer?",
        ),
    };
    vec![jobs, runners]
}

fn registration_check(forge: &Config, registration: &Result<(), String>) -> Check {
    const NAME: &str = "token: registration";
    match (registration, &forge.runner_token) {
        (_, Some(_)) => Check::ok(NAME, "forge.runner_token is given"),
        (Ok(()), None) => Check::ok(NAME, "a registration token may be asked for"),
        (Err(why), None) => {
            Check::fail(NAME, why, format!("{}; or set forge.runner_token", wanted(&forge.scope)))
        }
    }
}

/// Whether one of the hooks tells us of jobs.
fn webhook_check(settings: &Settings, hooks: &Result<Vec<Hook>, String>) -> Check {
    const NAME: &str = "webhook";
    let poll = settings.forge.poll_every;
    let without = format!("jobs are still found, within {poll:#}");
    let add = "`tinqs-ci init` shows the webhook to add; events: Workflow Job";
    let hooks = match hooks {
        Ok(hooks) => hooks,
        Err(why) => {
            let message = format!("the webhooks cannot be listed ({why}); {without}");
            return Check::warn(NAME, message, "look at the forge's page of webhooks");
        }
    };
    let Some(hook) = ours(settings, hooks) else {
        let message = match hooks.len() {
            0 => format!("there is none; {without}"),
            n => format!("none of {n} leads here; {without}"),
        };
        return Check::warn(NAME, message, add);
    };
    let tells = |event: &str| hook.events.iter().any(|e| e == event);
    if !hook.active {
        return Check::warn(
            NAME,
            format!("{} is switched off; {without}", hook.url),
            "switch it on",
        );
    }
    if !tells("workflow_job") {
        let message = format!("{} does not tell of workflow_job; {without}", hook.url);
        return Check::warn(NAME, message, "tick the event Workflow Job at the webhook");
    }
    Check::ok(NAME, format!("{} tells of {}", hook.url, hook.events.join(", ")))
}

fn labels_check(classes: &[Class], queued: &[Vec<String>]) -> Check {
    const NAME: &str = "labels";
    let mut unserved: BTreeMap<String, usize> = BTreeMap::new();
    // A job on `host` waits for a runner of the forge's own host: that is no mistake.
    let wanted = queued.iter().filter(|labels| !labels.iter().any(|label| label == HOST));
    for labels in wanted.filter(|labels| serving(classes, labels).is_none()) {
        *unserved.entry(labels.join(", ")).or_default() += 1;
    }
    if unserved.is_empty() {
        let message = match queued.len() {
            0 => "no job waits".to_owned(),
            1 => "1 job waits, and has a class".to_owned(),
            n => format!("{n} jobs wait, and all but those on `host` have a class"),
        };
        return Check::ok(NAME, message);
    }
    let listed: Vec<String> = unserved
        .iter()
        .take(5)
        .map(|(labels, count)| {
            let verb = if *count == 1 { "job asks" } else { "jobs ask" };
            format!("{count} queued {verb} for [{labels}]")
        })
        .collect();
    let more = unserved.len().saturating_sub(5);
    let more = if more > 0 { format!(", and {more} other sets") } else { String::new() };
    Check::warn(
        NAME,
        format!("{}{more}; no class matches", listed.join(", ")),
        "add the labels to a [[class]], or leave these jobs to other runners",
    )
}

/// Classes that share a label: which of them a job gets depends on their order.
pub(super) fn overlaps(classes: &[Class]) -> Vec<Check> {
    let names = |class: &Class| -> Vec<String> {
        class.labels.iter().map(|label| label_name(label).to_owned()).collect()
    };
    let mut checks = Vec::new();
    for (index, later) in classes.iter().enumerate().filter(|(_, class)| !class.is_any()) {
        for earlier in classes[..index].iter().filter(|class| !class.is_any()) {
            let before = names(earlier);
            let shared: Vec<String> =
                names(later).into_iter().filter(|name| before.contains(name)).collect();
            if shared.is_empty() || shared.len() == later.labels.len() {
                // Nothing in common; or all of it, which the configuration has warned about.
                continue;
            }
            checks.push(Check::warn(
                "classes",
                format!(
                    "jobs for [{}] alone get class \"{}\", never \"{}\"",
                    shared.join(", "),
                    earlier.name,
                    later.name
                ),
                "if that is meant, leave it so; if not, change their labels or their order",
            ));
        }
    }
    checks
}

#[cfg(test)]
#[allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]
mod tests {
    use std::path::Path;

    use expect_test::{Expect, expect};

    use super::super::Report;
    use super::*;
    use crate::settings;

    fn settings(more: &str) -> Settings {
        let text = format!("[forge]\nurl = \"https://git.example.com\"\ntoken = \"t\"\n{more}");
        settings::parse(&text, Some(Path::new("x")), &settings::Env::new()).expect("good").settings
    }

    fn granted() -> Facts {
        let hook = Hook {
            id: 1,
            url: "https://ci.example.com/webhook".into(),
            events: vec!["workflow_job".into()],
            active: true,
        };
        Facts {
            version: Ok(Version::parse("1.26.4")),
            ahead: Some(SignedDuration::from_secs(-1)),
            rights: Ok(Rights { jobs: Access::Granted, runners: Access::Granted }),
            registration: Ok(()),
            hooks: Ok(vec![hook]),
            queued: Ok(vec![vec!["linux".into()]]),
        }
    }

    #[track_caller]
    fn check(more: &str, facts: &Facts, expected: &Expect) {
        expected.assert_eq(&Report::new(forge_checks(&settings(more), facts)).text());
    }

    #[test]
    fn all_is_well() {
        check(
            "webhook_secret = \"s\"\n",
            &granted(),
            &expect![[r#"
            ✓ forge                   https://git.example.com is Gitea 1.26.4
            ✓ clock                   the forge's and ours agree
            ✓ token: job list         may be read
            ✓ token: runner list      may be read
            ✓ token: registration     a registration token may be asked for
            ✓ webhook                 https://ci.example.com/webhook tells of workflow_job
            ✓ labels                  1 job waits, and has a class
            7 passed, 0 warnings, 0 failed
        "#]],
        );
    }

    #[test]
    fn nothing_is_reached() {
        check(
            "",
            &Facts::none("connection refused"),
            &expect![[r#"
            ✗ forge                   https://git.example.com is not reached: connection refused
              fix: is `forge.url` right, and the server up?
            0 passed, 0 warnings, 1 failed
        "#]],
        );
    }

    #[test]
    fn everything_is_wrong() {
        let denied = || Access::Denied("403 Forbidden: token does not have the scope".into());
        let facts = Facts {
            version: Ok(Version::parse("1.24.7")),
            ahead: Some(SignedDuration::from_secs(3_600)),
            rights: Ok(Rights { jobs: denied(), runners: denied() }),
            registration: Err("403 Forbidden".into()),
            hooks: Err("403 Forbidden".into()),
            queued: Err("403 Forbidden".into()),
        };
        check(
            "scope = \"org:acme\"",
            &facts,
            &expect![[r#"
            ✗ forge                   https://git.example.com is Gitea 1.24.7
              fix: 1.25 is the first that lists waiting jobs: update the server
            ✗ clock                   the forge's clock is 3600 s from ours
              fix: let both hosts keep time by NTP
            ✗ token: job list         403 Forbidden: token does not have the scope
              fix: the token needs write:organization, of an owner of it
            ! token: runner list      403 Forbidden: token does not have the scope
              fix: the token needs write:organization, of an owner of it
            ✗ token: registration     403 Forbidden
              fix: the token needs write:organization, of an owner of it; or set forge.runner_token
            ! webhook                 the webhooks cannot be listed (403 Forbidden); jobs are still found, within 10s
              fix: look at the forge's page of webhooks
            ! webhook secret          none: webhooks are mere hints that bring the next poll forward
              fix: set forge.webhook_secret here and at the webhook
            0 passed, 3 warnings, 4 failed
        "#]],
        );
    }

    #[test]
    fn some_things_ask_for_attention() {
        let queue = ["arm64", "arm64", "gpu", "host"];
        let facts = Facts {
            version: Ok(Version::parse("12.0.0+gitea-1.22.0")),
            ahead: Some(SignedDuration::from_secs(45)),
            rights: Ok(Rights { jobs: Access::Missing, runners: Access::Missing }),
            hooks: Ok(Vec::new()),
            queued: Ok(queue.iter().map(|label| vec![(*label).to_owned()]).collect()),
            ..granted()
        };
        let class = "runner_token = \"r\"\ndemand = \"jobs\"\n[[class]]\nname = \"a\"\nlabels = [\"linux\"]";
        check(
            class,
            &facts,
            &expect![[r#"
            ! forge                   https://git.example.com is Forgejo 12.0.0+gitea-1.22.0
              fix: not supported: its lists of jobs and runners may differ from Gitea's; try the demo job
            ! clock                   the forge's clock is 45 s from ours
              fix: let both hosts keep time by NTP
            ✗ token: job list         the server has no such list, or the scope names what is not there
              fix: is `forge.scope` right, and the server 1.25 or newer?
            ! token: runner list      the server has no such list: what becomes of registrations is not seen
              fix: is `forge.scope` right, and the server 1.25 or newer?
            ✓ token: registration     forge.runner_token is given
            ! webhook                 there is none; jobs are still found, within 10s
              fix: `tinqs-ci init` shows the webhook to add; events: Workflow Job
            ! webhook secret          none: webhooks are mere hints that bring the next poll forward
              fix: set forge.webhook_secret here and at the webhook
            ! labels                  2 queued jobs ask for [arm64], 1 queued job asks for [gpu]; no class matches
              fix: add the labels to a [[class]], or leave these jobs to other runners
            1 passed, 6 warnings, 1 failed
        "#]],
        );
    }

    #[test]
    fn a_server_that_is_not_supported_is_asked_nothing_else() {
        let forgejo = Ok(Version::parse("15.0.0+gitea-1.22.0"));
        check(
            "",
            &Facts { version: forgejo, ..Facts::none("not asked") },
            &expect![[r#"
            ✗ forge                   https://git.example.com: Forgejo is not supported yet, and this is Forgejo 15.0.0+gitea-1.22.0: its API for Actions differs
              fix: use a Gitea server, 1.25 or newer
            0 passed, 0 warnings, 1 failed
        "#]],
        );
    }

    #[test]
    fn hooks_must_be_on_and_tell_of_jobs() {
        let hooks = |active, event: &str| Facts {
            hooks: Ok(vec![Hook {
                id: 1,
                url: "http://10.0.0.1:8080/".into(),
                events: vec![event.to_owned()],
                active,
            }]),
            ..granted()
        };
        let outcome = |facts: &Facts| webhook_check(&settings(""), &facts.hooks).message;
        assert!(outcome(&hooks(false, "workflow_job")).contains("switched off"));
        assert!(outcome(&hooks(true, "push")).contains("does not tell of workflow_job"));
        assert!(outcome(&hooks(true, "workflow_job")).contains("tells of workflow_job"));
    }

    #[test]
    fn shared_labels_are_named() {
        let classes = settings(
            "[[class]]\nname = \"small\"\nlabels = [\"linux\", \"small\"]\n\
             [[class]]\nname = \"big\"\nlabels = [\"linux:host\", \"big\"]\n\
             [[class]]\nname = \"any\"\nlabels = [\"*\"]",
        )
        .classes;
        let messages: Vec<String> = overlaps(&classes).into_iter().map(|c| c.message).collect();
        assert_eq!(messages, ["jobs for [linux] alone get class \"small\", never \"big\""]);
    }
}
