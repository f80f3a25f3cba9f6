//! Waiting jobs that no class serves, as a sentence.

use tinqs_ci_reconciler::controller::UnservedLabels;
use tinqs_ci_reconciler::text::cut;

/// Says how many jobs wait, and which class comes closest.
pub fn sentence(set: &UnservedLabels) -> String {
    let jobs = match set.jobs {
        1 => "1 job waits".to_owned(),
        jobs => format!("{jobs} jobs wait"),
    };
    let nearest = set.nearest.as_ref().map(|near| match near.lacks.as_slice() {
        [] => format!("class {} lacks `serves_unlabeled = true`", near.class),
        lacks => format!("the nearest, {}, lacks {}", near.class, cut(&lacks.join(", "), 120)),
    });
    let labels = cut(&set.runs_on.join(", "), 120);
    match nearest {
        Some(nearest) => format!("{jobs}: no class serves [{labels}]; {nearest}"),
        None => format!("{jobs}: no class serves [{labels}]"),
    }
}
