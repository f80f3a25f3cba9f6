//! What push mode asks of the forge: other rights, and a webhook that it cannot do without.

use super::facts::{Facts, ours};
use crate::settings::Settings;
use tinqs_ci_gitea::client::Hook;
use tinqs_ci_gitea::demand::{self, Choice, Means, Mode, PUSH_EVENTS};
use tinqs_ci_gitea::version::Version;
use tinqs_ci_reconciler::ports::check::Check;

/// The choice of push mode, where the forge's answers lead to it.
pub(super) fn chosen(settings: &Settings, facts: &Facts) -> Option<Choice> {
    let (Ok(version), Ok(rights)) = (&facts.version, &facts.rights) else { return None };
    let choice = demand::choose(Means::of(&settings.forge), version, rights).ok()?;
    (choice.mode == Mode::Push).then_some(choice)
}

/// The mode, with why; a warning where the server's own list would tell more.
pub(super) fn demand_check(choice: &Choice, version: &Version) -> Check {
    const NAME: &str = "demand";
    if !demand::ephemeral(version) {
        let fix = "update the server to 1.24 or newer, better 1.25, which lists its waiting jobs";
        return Check::fail(NAME, choice.why.clone(), fix);
    }
    let fix = if version.is_older_than(1, 25) {
        "update the server to 1.25 or newer, which lists its waiting jobs"
    } else {
        "give the token the right to read the job list and set forge.demand = \"jobs\", if you can"
    };
    Check::warn(NAME, choice.why.clone(), fix)
}

/// Whether one of the hooks tells us of pushes: nothing else does.
pub(super) fn webhook_check(settings: &Settings, hooks: &Result<Vec<Hook>, String>) -> Check {
    const NAME: &str = "webhook";
    const WITHOUT: &str = "in push mode nothing else tells of jobs";
    let add = format!("add a webhook that leads here; events: {}", PUSH_EVENTS.join(", "));
    let hooks = match hooks {
        Ok(hooks) => hooks,
        Err(why) => {
            let message = format!("the webhooks cannot be listed ({why}); {WITHOUT}");
            return Check::warn(NAME, message, "look at the forge's page of webhooks");
        }
    };
    let Some(hook) = ours(settings, hooks) else {
        return Check::fail(NAME, format!("none of {} leads here; {WITHOUT}", hooks.len()), add);
    };
    if !hook.active {
        let message = format!("{} is switched off; {WITHOUT}", hook.url);
        return Check::fail(NAME, message, "switch it on");
    }
    let missing: Vec<&str> = PUSH_EVENTS
        .into_iter()
        .filter(|event| !hook.events.iter().any(|told| told == event))
        .collect();
    let message = |what: &str| format!("{} {what}", hook.url);
    match missing.as_slice() {
        [] => Check::ok(NAME, message(&format!("tells of {}", hook.events.join(", ")))),
        some if some.contains(&"push") => {
            Check::fail(NAME, message(&format!("does not tell of push; {WITHOUT}")), add)
        }
        some => Check::warn(NAME, message(&format!("does not tell of {}", some.join(", "))), add),
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

    fn facts(version: &str, jobs: Access, hooks: Vec<Hook>) -> Facts {
        Facts {
            version: Ok(Version::parse(version)),
            ahead: None,
            rights: Ok(Rights { jobs, runners: Access::Granted }),
            registration: Ok(()),
            hooks: Ok(hooks),
            queued: Err("404".into()),
        }
    }

    #[track_caller]
    fn check(more: &str, facts: &Facts, expected: &Expect) {
        expected.assert_eq(&Report::new(forge_checks(&settings(more), facts)).text());
    }

    #[test]
    fn an_older_server_is_served_by_pushes_and_told_so() {
        check(
            "",
            &facts("1.24.7", Access::Missing, vec![hook(&PUSH_EVENTS)]),
            &expect![[r#"
            ✓ forge                   https://git.example.com is Gitea 1.24.7
            ! demand                  demand `push`, chosen: Gitea 1.24.7 has no list of waiting jobs; re-runs, schedules and lost webhooks are not seen in this mode
              fix: update the server to 1.25 or newer, which lists its waiting jobs
            ✓ token: runner list      may be read
            ✓ token: registration     a registration token may be asked for
            ✓ webhook                 https://ci.example.com/webhook tells of push, create, delete, pull_request
            4 passed, 1 warning, 0 failed
        "#]],
        );
    }

    #[test]
    fn without_ephemeral_runners_it_cannot_work() {
        let facts = facts("1.23.8", Access::Missing, vec![hook(&PUSH_EVENTS)]);
        let choice = chosen(&settings(""), &facts).expect("push");
        let check = demand_check(&choice, &Version::parse("1.23.8"));
        assert_eq!(check.outcome, Outcome::Fail);
        assert!(check.message.contains("ephemeral"), "{}", check.message);
    }

    #[test]
    fn the_webhook_must_tell_of_pushes() {
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
    fn where_the_list_may_be_read_pushes_are_not_chosen() {
        let facts = facts("1.27.0", Access::Granted, vec![hook(&PUSH_EVENTS)]);
        assert_eq!(chosen(&settings(""), &facts), None);
        assert!(chosen(&settings("demand = \"push\""), &facts).is_some());
    }
}
