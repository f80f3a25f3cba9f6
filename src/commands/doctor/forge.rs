//! Checks of the forge.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Class, HOST, label_name, nearest, serving};

use super::forge_answers::{ForgeAnswers, ours};
use super::{neighbors, push, rights, trust};
use crate::settings::Settings;
use tinqs_ci_gitea::Config;
use tinqs_ci_gitea::client::Hook;
use tinqs_ci_gitea::demand::{self, Refusal};
use tinqs_ci_gitea::version::Version;
use tinqs_ci_reconciler::ports::check::Check;

/// Checks the forge's answers.
pub fn forge_checks(settings: &Settings, answers: &ForgeAnswers) -> Vec<Check> {
    let forge = &settings.forge;
    let version = match &answers.version {
        Ok(version) => version,
        Err(why) => {
            return vec![Check::fail(
                "forge",
                format!("cannot reach {}: {why}", forge.url),
                "check `forge.url`, and that the server is running",
            )];
        }
    };
    if let Some(refusal) = demand::unsupported(forge.demand, version) {
        let message = format!("{}: {refusal}", forge.url);
        return vec![Check::fail("forge", message, Refusal::OTHER_SERVER)];
    }
    let by_push = push::chosen(settings, answers);
    let mut checks = vec![match &by_push {
        Some(_) => Check::ok("forge", format!("{} is {version}", forge.url)),
        None => version_check(forge, version),
    }];
    checks.extend(answers.ahead.map(clock_check));
    if let Some(check) = rights::obstacle(forge, &answers.rights) {
        // Every other answer of the forge would say the same.
        checks.push(check);
        return checks;
    }
    checks.extend(by_push.as_ref().map(|choice| push::demand_check(choice, version)));
    let lists = rights::list_checks(forge, &answers.rights);
    // The job list is not read in push mode.
    checks.extend(lists.into_iter().skip(usize::from(by_push.is_some())));
    checks.extend(rights::registration_checks(forge, &answers.registration));
    checks.extend(rights::rerun_check(&answers.reruns));
    checks.push(match by_push {
        Some(_) => push::webhook_check(settings, &answers.hooks),
        None => webhook_check(settings, &answers.hooks),
    });
    if forge.webhook_secret.is_none() {
        checks.push(Check::warn(
            "webhook secret",
            "not set: webhooks only trigger the next poll early",
            "set the same secret in forge.webhook_secret and in the webhook",
        ));
    }
    checks.extend(answers.queued.as_ref().ok().map(|jobs| labels_check(&settings.classes, jobs)));
    let repositories = answers.repositories.as_deref();
    checks.extend(repositories.into_iter().flat_map(|all| trust::unknown(&settings.classes, all)));
    let runners = answers.runners.as_deref().unwrap_or_default();
    checks.extend(neighbors::neighbors(settings, runners));
    checks
}

fn version_check(forge: &Config, version: &Version) -> Check {
    const NAME: &str = "forge";
    let message = format!("{} is {version}", forge.url);
    match version {
        old if old.is_older_than(1, 25) => Check::fail(
            NAME,
            message,
            "update the server to 1.25 or newer, which lists waiting jobs",
        ),
        Version::Gitea { .. } => Check::ok(NAME, message),
        Version::Forgejo { .. } => Check::warn(
            NAME,
            message,
            "use Gitea: Forgejo is not supported, its job and runner lists may differ",
        ),
        Version::Unknown { .. } => {
            Check::warn(NAME, message, "check that `forge.url` names a Gitea server, 1.25 or newer")
        }
    }
}

fn clock_check(ahead: SignedDuration) -> Check {
    const NAME: &str = "clock";
    let seconds = ahead.as_secs();
    let fix = "synchronize the clocks of both hosts with NTP";
    let message = format!("the forge's clock differs from this host's by {seconds} s");
    match seconds.abs() {
        0..=2 => Check::ok(NAME, "the forge's clock agrees with this host's"),
        3..=30 => Check::ok(NAME, message),
        31..=300 => Check::warn(NAME, message, fix),
        _ => Check::fail(NAME, message, fix),
    }
}

/// Checks whether a webhook sends job events to this server.
fn webhook_check(settings: &Settings, hooks: &Result<Vec<Hook>, String>) -> Check {
    const NAME: &str = "webhook";
    let poll = settings.forge.poll_every;
    let without = format!("jobs are still found within {poll:#}");
    let add = "`tinqs-ci webhook add --url URL` creates it";
    let hooks = match hooks {
        Ok(hooks) => hooks,
        Err(why) => {
            let message = format!("cannot list webhooks ({why}); {without}");
            return Check::warn(NAME, message, "check the webhook in the forge's settings");
        }
    };
    let tells = |hook: &Hook| hook.events.iter().any(|event| event == "workflow_job");
    let Some(hook) = ours(settings, hooks) else {
        // It is optional. One that sends jobs elsewhere may be meant for this server.
        return match hooks.iter().filter(|hook| tells(hook)).count() {
            0 => Check::ok(NAME, format!("none; jobs are found within {poll:#}; {add}")),
            n => {
                let message = format!("none of the {n} for jobs points to this server; {without}");
                Check::warn(NAME, message, add)
            }
        };
    };
    if !hook.active {
        return Check::warn(
            NAME,
            format!("{} is inactive; {without}", hook.url),
            "activate it in the forge's settings",
        );
    }
    if !tells(hook) {
        let message = format!("{} does not send workflow_job; {without}", hook.url);
        return Check::warn(NAME, message, "enable the event Workflow Jobs in the webhook");
    }
    Check::ok(NAME, format!("{} sends {}", hook.url, hook.events.join(", ")))
}

fn labels_check(classes: &[Class], queued: &[(String, Vec<String>)]) -> Check {
    const NAME: &str = "labels";
    let mut unserved: BTreeMap<String, usize> = BTreeMap::new();
    // Jobs on `host` wait for runners on the forge's own host.
    let relevant = queued.iter().filter(|(_, labels)| !labels.iter().any(|label| label == HOST));
    for (repo, labels) in relevant.filter(|(of, labels)| serving(classes, of, labels).is_none()) {
        let near = nearest(classes, repo, labels).filter(|near| !near.repos.is_empty());
        let near = near.map(|near| format!(" of {repo} ({near})")).unwrap_or_default();
        *unserved.entry(format!("[{}]{near}", labels.join(", "))).or_default() += 1;
    }
    if unserved.is_empty() {
        let message = match queued.len() {
            0 => "no waiting jobs".to_owned(),
            1 => "1 waiting job, which a class serves".to_owned(),
            n => format!("{n} waiting jobs; classes serve all except those on `host`"),
        };
        return Check::ok(NAME, message);
    }
    let listed: Vec<String> = unserved
        .iter()
        .take(5)
        .map(|(labels, count)| {
            let s = if *count == 1 { "" } else { "s" };
            format!("{count} waiting job{s} with {labels}")
        })
        .collect();
    let more = unserved.len().saturating_sub(5);
    let more = if more > 0 { format!(", and {more} other label sets") } else { String::new() };
    Check::warn(
        NAME,
        format!("{}{more}; no class matches", listed.join(", ")),
        "add the labels to a [[class]], unless other runners take these jobs",
    )
}

/// Warns about classes that share labels: their order decides which of them a job gets.
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
                // Nothing shared; or everything, which is a warning of the configuration.
                continue;
            }
            checks.push(Check::warn(
                "classes",
                format!(
                    "jobs with only [{}] get class \"{}\", never \"{}\"",
                    shared.join(", "),
                    earlier.name,
                    later.name
                ),
                "change their labels or their order, or ignore this warning if it is intended",
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

    use tinqs_ci_gitea::client::{Access, RerunAccess, Rights};

    use super::super::Report;
    use super::*;
    use crate::settings;

    fn settings(more: &str) -> Settings {
        let text = format!("[forge]\nurl = \"https://git.example.com\"\ntoken = \"t\"\n{more}");
        settings::parse(&text, Some(Path::new("x")), &settings::Env::new()).expect("good").settings
    }

    fn granted() -> ForgeAnswers {
        let hook = Hook {
            id: 1,
            url: "https://ci.example.com/webhook".into(),
            events: vec!["workflow_job".into()],
            active: true,
        };
        ForgeAnswers {
            version: Ok(Version::parse("1.26.4")),
            ahead: Some(SignedDuration::from_secs(-1)),
            rights: Ok(Rights { jobs: Access::Granted, runners: Access::Granted }),
            registration: Ok(()),
            reruns: Ok(Some(RerunAccess {
                repository: "acme/site".into(),
                access: Access::Granted,
            })),
            hooks: Ok(vec![hook]),
            queued: Ok(vec![("acme/site".into(), vec!["linux".into()])]),
            repositories: None,
            runners: None,
        }
    }

    #[track_caller]
    fn check(more: &str, answers: &ForgeAnswers, expected: &Expect) {
        expected.assert_eq(&Report::new(forge_checks(&settings(more), answers)).text());
    }

    #[test]
    fn a_working_forge_passes_every_check() {
        check(
            "webhook_secret = \"s\"\n",
            &granted(),
            &expect![[r#"
                ✓ forge                   https://git.example.com is Gitea 1.26.4
                ✓ clock                   the forge's clock agrees with this host's
                ✓ token: job list         readable
                ✓ token: runner list      readable
                ✓ token: registration     the token can register runners in repositories
                ✓ token: re-runs          the token can run jobs of lost machines again in acme/site
                ✓ webhook                 https://ci.example.com/webhook sends workflow_job
                ✓ labels                  1 waiting job, which a class serves
                8 passed, 0 warnings, 0 failed
            "#]],
        );
    }

    #[test]
    fn an_unreachable_forge_fails_one_check() {
        check(
            "",
            &ForgeAnswers::none("connection refused"),
            &expect![[r#"
                ✗ forge                   cannot reach https://git.example.com: connection refused
                  fix: check `forge.url`, and that the server is running
                0 passed, 0 warnings, 1 failed
            "#]],
        );
    }

    #[test]
    fn an_old_forge_with_denied_rights_fails() {
        let denied = || Access::Denied("403 Forbidden: token does not have the scope".into());
        let answers = ForgeAnswers {
            version: Ok(Version::parse("1.24.7")),
            ahead: Some(SignedDuration::from_secs(3_600)),
            rights: Ok(Rights { jobs: denied(), runners: denied() }),
            registration: Err("403 Forbidden".into()),
            reruns: Ok(None),
            hooks: Err("403 Forbidden".into()),
            queued: Err("403 Forbidden".into()),
            repositories: None,
            runners: None,
        };
        check(
            "scope = \"org:acme\"",
            &answers,
            &expect![[r#"
                ✗ forge                   https://git.example.com is Gitea 1.24.7
                  fix: update the server to 1.25 or newer, which lists waiting jobs
                ✗ clock                   the forge's clock differs from this host's by 3600 s
                  fix: synchronize the clocks of both hosts with NTP
                ✗ token: job list         403 Forbidden: token does not have the scope
                  fix: use a token of an owner of the organization, with write:organization
                ! token: runner list      403 Forbidden: token does not have the scope
                  fix: use a token of an owner of the organization, with write:organization
                ✗ token: registration     403 Forbidden
                  fix: use a token with write:repository of the repositories' owner or a site administrator; or set `forge.register_in` to "scope", with which any repository in scope can take the machines of every other
                ! webhook                 cannot list webhooks (403 Forbidden); jobs are still found within 10s
                  fix: check the webhook in the forge's settings
                ! webhook secret          not set: webhooks only trigger the next poll early
                  fix: set the same secret in forge.webhook_secret and in the webhook
                0 passed, 3 warnings, 4 failed
            "#]],
        );
    }

    #[test]
    fn a_token_that_is_not_accepted_fails_one_check() {
        let why = "401 Unauthorized: the forge does not accept `forge.token`";
        for demand in ["auto", "jobs", "push"] {
            let rejected = || Access::Rejected(why.into());
            let answers = ForgeAnswers {
                rights: Ok(Rights { jobs: rejected(), runners: rejected() }),
                registration: Err(why.into()),
                reruns: Ok(None),
                hooks: Err(why.into()),
                queued: Err(why.into()),
                ..granted()
            };
            check(
                &format!("demand = \"{demand}\"\nwebhook_secret = \"s\"\n"),
                &answers,
                &expect![[r#"
                    ✓ forge                   https://git.example.com is Gitea 1.26.4
                    ✓ clock                   the forge's clock agrees with this host's
                    ✗ token                   401 Unauthorized: the forge does not accept `forge.token`
                      fix: create a new token (in Gitea: Settings → Applications) and set it as forge.token
                    2 passed, 0 warnings, 1 failed
                "#]],
            );
        }
    }

    #[test]
    fn a_scope_that_does_not_exist_fails_one_check() {
        let missing = || Access::NoScope("no such organization `acme`".into());
        let answers = ForgeAnswers {
            rights: Ok(Rights { jobs: missing(), runners: missing() }),
            ..granted()
        };
        check(
            "scope = \"org:acme\"\nwebhook_secret = \"s\"\n",
            &answers,
            &expect![[r#"
                ✓ forge                   https://git.example.com is Gitea 1.26.4
                ✓ clock                   the forge's clock agrees with this host's
                ✗ scope                   no such organization `acme`
                  fix: check the spelling and that the token's user can see it; a user's own repositories are the scope `user` with that user's token
                2 passed, 0 warnings, 1 failed
            "#]],
        );
    }

    #[test]
    fn partial_problems_cause_warnings() {
        let queue = ["arm64", "arm64", "gpu", "host"];
        let answers = ForgeAnswers {
            version: Ok(Version::parse("12.0.0+gitea-1.22.0")),
            ahead: Some(SignedDuration::from_secs(45)),
            rights: Ok(Rights { jobs: Access::Missing, runners: Access::Missing }),
            reruns: Ok(None),
            hooks: Ok(Vec::new()),
            queued: Ok(queue
                .iter()
                .map(|label| ("acme/site".to_owned(), vec![(*label).to_owned()]))
                .collect()),
            ..granted()
        };
        let class = "runner_token = \"r\"\nregister_in = \"scope\"\ndemand = \"jobs\"\n[[class]]\nname = \"a\"\nlabels = [\"linux\"]";
        check(
            class,
            &answers,
            &expect![[r#"
                ! forge                   https://git.example.com is Forgejo 12.0.0+gitea-1.22.0
                  fix: use Gitea: Forgejo is not supported, its job and runner lists may differ
                ! clock                   the forge's clock differs from this host's by 45 s
                  fix: synchronize the clocks of both hosts with NTP
                ✗ token: job list         the server has no such list
                  fix: check that the server is Gitea 1.25 or newer
                ! token: runner list      the server has no such list: registrations cannot be observed
                  fix: check that the server is Gitea 1.25 or newer
                ✓ token: registration     forge.runner_token is set
                ! runners                 they register in the scope: any repository in scope can take these machines
                  fix: set forge.register_in to "repository", or trust all repositories in scope alike
                ✓ webhook                 none; jobs are found within 10s; `tinqs-ci webhook add --url URL` creates it
                ! webhook secret          not set: webhooks only trigger the next poll early
                  fix: set the same secret in forge.webhook_secret and in the webhook
                ! labels                  2 waiting jobs with [arm64], 1 waiting job with [gpu]; no class matches
                  fix: add the labels to a [[class]], unless other runners take these jobs
                2 passed, 6 warnings, 1 failed
            "#]],
        );
    }

    #[test]
    fn an_unsupported_server_gets_no_further_checks() {
        let forgejo = Ok(Version::parse("15.0.0+gitea-1.22.0"));
        check(
            "",
            &ForgeAnswers { version: forgejo, ..ForgeAnswers::none("not asked") },
            &expect![[r#"
                ✗ forge                   https://git.example.com: Forgejo is not supported yet (Forgejo 15.0.0+gitea-1.22.0): its API for Actions differs
                  fix: use a Gitea server, 1.25 or newer
                0 passed, 0 warnings, 1 failed
            "#]],
        );
    }

    #[test]
    fn webhooks_must_be_active_and_send_job_events() {
        let hooks = |active, event: &str| ForgeAnswers {
            hooks: Ok(vec![Hook {
                id: 1,
                url: "http://10.0.0.1:8080/".into(),
                events: vec![event.to_owned()],
                active,
            }]),
            ..granted()
        };
        let outcome = |answers: &ForgeAnswers| webhook_check(&settings(""), &answers.hooks).message;
        assert!(outcome(&hooks(false, "workflow_job")).contains("is inactive"));
        assert!(outcome(&hooks(true, "push")).contains("does not send workflow_job"));
        assert!(outcome(&hooks(true, "workflow_job")).contains("sends workflow_job"));
    }

    #[test]
    fn classes_with_shared_labels_cause_a_warning() {
        let classes = settings(
            "[[class]]\nname = \"small\"\nlabels = [\"linux\", \"small\"]\n\
             [[class]]\nname = \"big\"\nlabels = [\"linux:host\", \"big\"]\n\
             [[class]]\nname = \"any\"\nlabels = [\"*\"]",
        )
        .classes;
        let messages: Vec<String> = overlaps(&classes).into_iter().map(|c| c.message).collect();
        assert_eq!(messages, ["jobs with only [linux] get class \"small\", never \"big\""]);
    }
}
