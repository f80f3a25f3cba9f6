//! Waiting jobs that no class serves, grouped for people. Nothing is decided here.

use std::collections::BTreeMap;

use super::{UnservedJob, UnservedLabels};
use crate::model::{Class, nearest};
use crate::ports::WaitingJob;

/// The maximum number of sets of labels in a report.
const SETS: usize = 100;
/// The maximum number of jobs that are named for each.
const EXAMPLES: usize = 5;

/// Groups the jobs by the labels they ask for, most jobs first.
pub(super) fn by_labels<'a>(
    classes: &[Class],
    jobs: impl IntoIterator<Item = &'a WaitingJob>,
) -> Vec<UnservedLabels> {
    let mut groups: BTreeMap<Vec<String>, UnservedLabels> = BTreeMap::new();
    for job in jobs {
        let mut labels = job.runs_on.clone();
        labels.sort();
        labels.dedup();
        let group = groups.entry(labels).or_default();
        group.jobs += 1;
        if group.examples.len() < EXAMPLES {
            group.examples.push(UnservedJob {
                repo: job.job.repo.clone(),
                job_id: job.job.job_id,
                name: job.about.job.clone(),
                url: job.about.url.clone(),
            });
        }
    }
    let mut groups: Vec<UnservedLabels> = groups
        .into_iter()
        .map(|(runs_on, group)| UnservedLabels {
            nearest: group.examples.first().and_then(|job| nearest(classes, &job.repo, &runs_on)),
            runs_on,
            ..group
        })
        .collect();
    // Stable, so that equal numbers stay in the order of their labels.
    groups.sort_by_key(|group| std::cmp::Reverse(group.jobs));
    groups.truncate(SETS);
    groups
}
