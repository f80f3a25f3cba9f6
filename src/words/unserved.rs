//! Waiting jobs that no class serves, as a sentence.

use tinqs_ci_reconciler::controller::UnservedLabels;
use tinqs_ci_reconciler::model::NearestClass;
use tinqs_ci_reconciler::text::cut;

/// Says how many jobs wait, and which class comes closest.
pub fn sentence(set: &UnservedLabels) -> String {
    let jobs = match set.jobs {
        1 => "1 job waits".to_owned(),
        jobs => format!("{jobs} jobs wait"),
    };
    let labels = cut(&set.runs_on.join(", "), 120);
    match &set.nearest {
        Some(nearest) => format!("{jobs}: no class serves [{labels}]; {nearest}"),
        None => format!("{jobs}: no class serves [{labels}]"),
    }
}

/// Says what would let the nearest class serve a job that it fits but for its repository.
pub fn fix_repos(near: &NearestClass) -> Option<String> {
    (near.lacks.is_empty() && !near.repos.is_empty()).then(|| {
        format!(
            "add the repository to `repos` of class {}, or these labels to a class that serves it",
            near.class
        )
    })
}
