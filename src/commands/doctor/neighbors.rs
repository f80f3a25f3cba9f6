//! Checks of other installations at the same forge.

use std::collections::{BTreeMap, BTreeSet};

use tinqs_ci_gitea::client::ListedRunner;
use tinqs_ci_reconciler::model::{AttemptId, InstallationId};
use tinqs_ci_reconciler::ports::check::Check;

use crate::settings::Settings;

const NAME: &str = "installations";

/// Names the other installations whose runners are in the scope, and the classes that serve the
/// labels of those.
pub(super) fn neighbors(settings: &Settings, runners: &[ListedRunner]) -> Vec<Check> {
    let own = InstallationId::of(&settings.installation);
    let mut others: BTreeMap<InstallationId, Vec<&ListedRunner>> = BTreeMap::new();
    let mut untold = 0;
    for runner in runners {
        let Ok(attempt_id) = runner.name.parse::<AttemptId>() else { continue };
        match attempt_id.installation() {
            Some(of) if of == own => {}
            Some(of) => others.entry(of).or_default().push(runner),
            None => untold += 1,
        }
    }
    let mut checks: Vec<Check> =
        others.iter().map(|(of, runners)| neighbor(settings, of, runners)).collect();
    if untold > 0 {
        checks.push(Check::ok(
            NAME,
            format!(
                "{} with names of an earlier release, which do not tell the installation: only \
                 those with a record are removed",
                counted(untold)
            ),
        ));
    }
    checks
}

fn neighbor(settings: &Settings, of: &InstallationId, runners: &[&ListedRunner]) -> Check {
    let found = format!("installation {of} has {} in this scope, too", counted(runners.len()));
    let shared: BTreeSet<&str> = settings
        .classes
        .iter()
        .filter(|class| runners.iter().any(|runner| class.serves_labels(&runner.labels)))
        .map(|class| class.name.0.as_str())
        .collect();
    if shared.is_empty() {
        return Check::ok(NAME, format!("{found}; no class serves their labels"));
    }
    let names: Vec<String> = shared.iter().map(|name| format!("\"{name}\"")).collect();
    Check::warn(
        NAME,
        format!(
            "{found}, with labels of class {}: both start a machine for the same job",
            names.join(", ")
        ),
        "give each installation a scope, repositories (`repos` of its classes) or labels of its own",
    )
}

fn counted(runners: usize) -> String {
    match runners {
        1 => "1 runner".to_owned(),
        runners => format!("{runners} runners"),
    }
}

#[cfg(test)]
#[allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use super::super::Report;
    use super::*;
    use crate::settings;

    fn runner(name: &str, label: &str) -> ListedRunner {
        ListedRunner { name: name.to_owned(), labels: vec![label.to_owned()] }
    }

    #[test]
    fn other_installations_are_named_with_the_classes_that_serve_their_labels() {
        let text = "[forge]\nurl = \"https://git.example.com\"\ntoken = \"t\"\n\
                    [[class]]\nname = \"linux\"\nlabels = [\"linux\"]";
        let settings = settings::parse(text, Some(Path::new("x")), &settings::Env::new());
        let settings = settings.expect("good").settings;
        let own = InstallationId::of(&settings.installation);
        let runners = [
            runner(&format!("tq-job-1-{own}0a1b2c3d-1"), "linux"),
            runner("tq-job-1-aaaa0a1b2c3d-1", "linux"),
            runner("tq-job-2-aaaa0a1b2c3d-1", "gpu"),
            runner("tq-job-3-bbbb0a1b2c3d-1", "gpu"),
            runner("tq-job-4-0a1b2c3d-1", "linux"),
            runner("office-pc", "linux"),
        ];
        expect![[r#"
            ! installations           installation aaaa has 2 runners in this scope, too, with labels of class "linux": both start a machine for the same job
              fix: give each installation a scope, repositories (`repos` of its classes) or labels of its own
            ✓ installations           installation bbbb has 1 runner in this scope, too; no class serves their labels
            ✓ installations           1 runner with names of an earlier release, which do not tell the installation: only those with a record are removed
            2 passed, 1 warning, 0 failed
        "#]]
        .assert_eq(&Report::new(neighbors(&settings, &runners)).text());
        assert_eq!(neighbors(&settings, &runners[..1]), []);
    }
}
