//! The lost jobs of a class that are run again.

use tinqs_ci_reconciler::model::{MachineSpec, RerunJobs, RerunPolicy};

use super::reader::Reader;

/// Returns whether lost jobs are run again by default. Jobs with the rights of a profile may have
/// done half of a deployment.
pub(super) fn default_rerun(machines: &[MachineSpec]) -> RerunPolicy {
    let has_profile = machines.iter().any(|machine| !machine.instance_profile.is_empty());
    let jobs = if has_profile { RerunJobs::Never } else { RerunJobs::Lost };
    RerunPolicy { jobs, ..RerunPolicy::default() }
}

/// Returns what the class says of lost jobs.
pub(super) fn rerun(r: &Reader<'_>, machines: &[MachineSpec]) -> RerunPolicy {
    let default = default_rerun(machines);
    let jobs = match r.text("rerun").as_deref() {
        Some("never") => RerunJobs::Never,
        Some(_) => RerunJobs::Lost,
        None => default.jobs,
    };
    RerunPolicy { jobs, limit: r.count_in("rerun_limit").unwrap_or(default.limit) }
}
