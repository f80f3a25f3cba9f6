//! Checks of push mode, which needs other rights and a webhook.

use super::forge_answers::{ForgeAnswers, ours};
use crate::settings::Settings;
use tinqs_ci_gitea::client::Hook;
use tinqs_ci_gitea::demand::{self, DemandConfig, Mode, ModeChoice, PUSH_EVENTS};
use tinqs_ci_gitea::version::Version;
use tinqs_ci_reconciler::ports::check::Check;

/// Returns the choice of push mode, if the forge's answers lead to it.
pub(super) fn chosen(settings: &Settings, answers: &ForgeAnswers) -> Option<ModeChoice> {
    let (Ok(version), Ok(rights)) = (&answers.version, &answers.rights) else { return None };
    let choice = demand::choose(DemandConfig::of(&settings.forge), version, rights).ok()?;
    (choice.mode == Mode::Push).then_some(choice)
}

/// Reports the mode with its reason, as a warning, because the job list would show more.
pub(super) fn demand_check(choice: &ModeChoice, version: &Version) -> Check {
    const NAME: &str = "demand";
    if !demand::ephemeral(version) {
        let fix = "update the server to 1.24 or newer, preferably 1.25, which lists waiting jobs";
        return Check::fail(NAME, choice.why.clone(), fix);
    }
    let fix = if version.is_older_than(1, 25) {
        "update the server to 1.25 or newer, which lists waiting jobs"
    } else {
        "if possible, let the token read the job list and set forge.demand = \"jobs\""
    };
    Check::warn(NAME, choice.why.clone(), fix)
}

/// Checks whether a webhook sends pushes to this server; push mode has no other source.
pub(super) fn webhook_check(settings: &Settings, hooks: &Result<Vec<Hook>, String>) -> Check {
    const NAME: &str = "webhook";
    const WITHOUT: &str = "push mode finds no jobs without it";
    let add = format!(
        "create it with `tinqs-ci webhook add --url URL`; events: {}",
        PUSH_EVENTS.join(", ")
    );
    let hooks = match hooks {
        Ok(hooks) => hooks,
        Err(why) => {
            let message = format!("cannot list webhooks ({why}); {WITHOUT}");
            return Check::warn(NAME, message, "check the webhook in the forge's settings");
        }
    };
    let Some(hook) = ours(settings, hooks) else {
        let message = format!("none of {} webhooks points to this server; {WITHOUT}", hooks.len());
        return Check::fail(NAME, message, add);
    };
    if !hook.active {
        let message = format!("{} is inactive; {WITHOUT}", hook.url);
        return Check::fail(NAME, message, "activate it in the forge's settings");
    }
    let missing: Vec<&str> = PUSH_EVENTS
        .into_iter()
        .filter(|event| !hook.events.iter().any(|configured| configured == event))
        .collect();
    let message = |what: &str| format!("{} {what}", hook.url);
    match missing.as_slice() {
        [] => Check::ok(NAME, message(&format!("sends {}", hook.events.join(", ")))),
        events if events.contains(&"push") => {
            Check::fail(NAME, message(&format!("does not send push; {WITHOUT}")), add)
        }
        events => Check::warn(NAME, message(&format!("does not send {}", events.join(", "))), add),
    }
}

#[cfg(test)]
#[allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]
mod tests {
    use std::path::Path;

    use expect_test::{Expect, expect};

    use super::super::forge::forge_checks;
    use super::super::{Outcome, Report};
    use super::*;
    use crate::settings;
    use tinqs_ci_gitea::client::{Access, Rights};

    fn settings(more: &str) -> Settings {
        let text = format!(
            "[forge]\nurl = \"https://git.example.com\"\ntoken = \"t\"\nwebhook_secret = \"s\"\n{more}"
        );
        settings::parse(&text, Some(Path::new("x")), &settings::Env::new()).expect("good").settings
    }

    fn hook(events: &[&str]) -> Hook {
        let events = events.iter().map(|event| (*event).to_owned()).collect();
        Hook { id: 1, url: "https://ci.example.com/webhook".into(), events, active: true }
    }

    fn answers(version: &str, jobs: Access, hooks: Vec<Hook>) -> ForgeAnswers {
        ForgeAnswers {
            version: Ok(Version::parse(version)),
            ahead: None,
            rights: Ok(Rights { jobs, runners: Access::Granted }),
            registration: Ok(()),
            reruns: Ok(None),
            hooks: Ok(hooks),
            queued: Err("404".into()),
            repositories: None,
            runners: None,
        }
    }

    #[track_caller]
    fn check(more: &str, answers: &ForgeAnswers, expected: &Expect) {
        expected.assert_eq(&Report::new(forge_checks(&settings(more), answers)).text());
    }

    #[test]
    fn an_older_server_uses_push_mode_with_a_warning() {
        check(
            "",
            &answers("1.24.7", Access::Missing, vec![hook(&PUSH_EVENTS)]),
            &expect![[r#"
                ✓ forge                   https://git.example.com is Gitea 1.24.7
                ! demand                  demand `push`, chosen: Gitea 1.24.7 has no list of waiting jobs; this mode does not see re-runs, schedules and lost webhooks
                  fix: update the server to 1.25 or newer, which lists waiting jobs
                ✓ token: runner list      readable
                ✓ token: registration     the token can register runners in repositories
                ✓ webhook                 https://ci.example.com/webhook sends push, create, delete, pull_request
                4 passed, 1 warning, 0 failed
            "#]],
        );
    }

    #[test]
    fn a_server_without_ephemeral_runners_fails() {
        let answers = answers("1.23.8", Access::Missing, vec![hook(&PUSH_EVENTS)]);
        let choice = chosen(&settings(""), &answers).expect("push");
        let check = demand_check(&choice, &Version::parse("1.23.8"));
        assert_eq!(check.outcome, Outcome::Fail);
        assert!(check.message.contains("ephemeral"), "{}", check.message);
    }

    #[test]
    fn the_webhook_must_send_pushes() {
        let outcome = |hooks: Vec<Hook>| webhook_check(&settings(""), &Ok(hooks)).outcome;
        assert_eq!(outcome(vec![]), Outcome::Fail);
        assert_eq!(outcome(vec![hook(&["workflow_job"])]), Outcome::Fail);
        assert_eq!(outcome(vec![hook(&["push"])]), Outcome::Warn);
        assert_eq!(outcome(vec![hook(&PUSH_EVENTS)]), Outcome::Ok);
        assert_eq!(outcome(vec![Hook { active: false, ..hook(&PUSH_EVENTS) }]), Outcome::Fail);
        let unknown = webhook_check(&settings(""), &Err("403".into()));
        assert_eq!(unknown.outcome, Outcome::Warn);
    }

    #[test]
    fn push_mode_is_not_chosen_if_the_job_list_is_readable() {
        let answers = answers("1.27.0", Access::Granted, vec![hook(&PUSH_EVENTS)]);
        assert_eq!(chosen(&settings(""), &answers), None);
        assert!(chosen(&settings("demand = \"push\""), &answers).is_some());
    }
}
