//! Checks of which jobs can take each other's machines.

use tinqs_ci_reconciler::model::{Class, label_name, pattern_fits};
use tinqs_ci_reconciler::ports::check::Check;

use crate::settings::nearest;

/// Warns about classes whose labels contain all of another's: within a repository, a machine for a
/// job with labels of both may take a job of the other class.
pub(super) fn contained(classes: &[Class]) -> Vec<Check> {
    let mut checks = Vec::new();
    for wide in classes.iter().filter(|class| !class.is_any()) {
        for narrow in classes.iter().filter(|class| !class.is_any() && class.name != wide.name) {
            let has = |name: &str| wide.labels.iter().any(|label| label_name(label) == name);
            let shared = narrow.labels.iter().filter(|label| has(label_name(label))).count();
            if shared == 0 || shared < narrow.labels.len() || wide.labels.len() <= shared {
                continue;
            }
            let names: Vec<&str> = narrow.labels.iter().map(|label| label_name(label)).collect();
            checks.push(Check::warn(
                "classes",
                format!(
                    "a machine for a job with all labels of class \"{}\" may take a job for [{}] of \
                     the same repository",
                    wide.name,
                    names.join(", "),
                ),
                format!("let the jobs of class \"{}\" ask for one label of its own only", wide.name),
            ));
        }
    }
    checks
}

/// Says which classes may start any number of machines.
pub(super) fn unlimited(classes: &[Class]) -> Option<Check> {
    let names = classes.iter().filter(|class| class.limit.is_none());
    let names: Vec<String> = names.map(|class| format!("\"{}\"", class.name)).collect();
    (!names.is_empty()).then(|| {
        let message = format!(
            "no limit of machines in {}, as `limit = \"none\"` says: a flood of jobs starts as many",
            names.join(", ")
        );
        Check::ok("limits", message)
    })
}

/// Warns about patterns of repositories that none of these repositories fits.
pub(super) fn unknown(classes: &[Class], repositories: &[String]) -> Vec<Check> {
    let mut checks = Vec::new();
    for class in classes {
        for pattern in &class.repos {
            let Some(unfit) = fits_none(pattern, repositories) else { continue };
            checks.push(Check::warn(
                "repositories",
                format!("class \"{}\" is for {unfit}", class.name),
                "correct `repos` of the class, or remove the pattern; names are `owner/name`",
            ));
        }
    }
    checks
}

/// Returns what is to say of a pattern that none of these repositories fits; `None` if one does.
pub(in crate::commands) fn fits_none(pattern: &str, repositories: &[String]) -> Option<String> {
    if repositories.iter().any(|repo| pattern_fits(pattern, repo)) {
        return None;
    }
    let names: Vec<&str> = repositories.iter().map(String::as_str).collect();
    let near = nearest(pattern, &names, 3);
    let near = near.map(|name| format!("; the nearest is {name}")).unwrap_or_default();
    Some(format!("\"{pattern}\", which no repository in `forge.scope` fits{near}"))
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::{ClassName, Times};

    use super::*;

    fn class(name: &str, labels: &[&str]) -> Class {
        Class {
            name: ClassName(name.to_owned()),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            serves_unlabeled: false,
            machines: Vec::new(),
            limit: None,
            repo_limit: None,
            owner_limit: None,
            rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
            budget: None,
            allocation: tinqs_ci_reconciler::model::Allocation::Order,
            repos: Vec::new(),
            times: Times::default(),
        }
    }

    #[test]
    fn labels_that_contain_those_of_another_class_cause_a_warning_with_the_cure() {
        let deploy = class("deploy", &["deploy", "linux:docker://image"]);
        let linux = class("linux", &["linux:host"]);
        let checks = contained(&[deploy, linux.clone(), class("any", &["*"])]);
        let [check] = &checks[..] else { panic!("{checks:?}") };
        assert!(check.message.contains("\"deploy\" may take a job for [linux]"), "{check:?}");
        assert!(check.fix.as_ref().is_some_and(|fix| fix.contains("one label of its own")));
        assert_eq!(contained(&[class("deploy", &["deploy"]), linux.clone()]), []);
        assert_eq!(contained(&[class("same", &["linux"]), linux]), [], "the configuration warns");
    }

    #[test]
    fn a_class_without_a_limit_is_named() {
        let limited = Class { limit: Some(3), ..class("limited", &["linux"]) };
        assert_eq!(unlimited(std::slice::from_ref(&limited)), None);
        let check = unlimited(&[limited, class("any", &["*"])]).expect("one has none");
        assert!(check.message.contains("no limit of machines in \"any\""), "{check:?}");
    }

    #[test]
    fn patterns_that_no_repository_fits_cause_a_warning_with_the_nearest_name() {
        let repos = ["acme/sire", "Acme/Infra-*", "gone/*"].map(str::to_owned).to_vec();
        let deploy = Class { repos, ..class("deploy", &["deploy"]) };
        let all = ["acme/site", "acme/infra-1"].map(str::to_owned);
        let checks = unknown(&[deploy, class("linux", &["linux"])], &all);
        let [near, far] = &checks[..] else { panic!("{checks:?}") };
        assert!(near.message.ends_with("fits; the nearest is acme/site"), "{near:?}");
        assert!(far.message.contains("\"gone/*\"") && far.message.ends_with("fits"), "{far:?}");
    }
}
