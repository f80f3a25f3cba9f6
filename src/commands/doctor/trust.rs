//! Checks of which jobs can take each other's machines.

use tinqs_ci_reconciler::model::{Class, label_name};
use tinqs_ci_reconciler::ports::check::Check;

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
}
