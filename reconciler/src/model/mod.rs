//! Data types: what is wanted, what is recorded, what is observed.

mod allocation;
mod attempt;
mod boots;
mod budget;
mod class;
mod clock_check;
mod drift;
mod friendly;
mod job;
mod job_times;
mod lost;
mod machine;
mod machine_options;
mod money;
mod names;
mod observation;
mod outcome;
mod pause;
mod record_formats;
mod recorded;
mod redactor;
mod repos;
mod rerun;
mod run;
mod runner_setup;
mod seat_limits;
mod secret;
mod spot;
mod stored;
mod timeline;
mod unknown_fields;
mod usage;

pub use allocation::{Allocation, Chosen, Pool};
pub use attempt::{
    Answer, Attempt, Boot, BootPromise, BootResult, End, Ended, PastAttempt, PastPlacement,
    Placement, Refused, Runner,
};
pub use boots::{BootStop, ClassBoot, boots_of};
pub use budget::{BudgetStop, ClassSpend, DaySpend, begin_of, day_of, next_day};
pub use class::{
    Class, ClassName, HOST, NearestClass, Times, label_name, labels_match, nearest, serving,
};
pub use clock_check::{CLOCKS_AGREE_WITHIN, ClockCheck};
pub use drift::{Blocker, Drift, DriftKind, Failing, NextStep, SeenSince};
pub use friendly::Friendly;
pub use job::{Conclusion, Job, JobRef};
pub use job_times::{JobTimes, JobWait};
pub use machine::{Cause, MachineSpec, Market, OpenBreaker, Refusal, UnavailableOffering};
pub use machine_options::{CpuCredits, DiskEncryption, LaunchTemplate, MachineOptions};
pub use money::MicroUsd;
pub(crate) use names::hash_hex;
pub use names::{AttemptId, InstallationId, MachineId, ParseError, RunName, Uid, Uid8};
pub use observation::{
    AtWork, ForgeRead, JobRunner, Machine, MachineState, Observation, ObservedClass, Registration,
    Registrations,
};
pub use outcome::{EndedBy, Outcome, StateReason};
pub use pause::{Pause, paused};
pub use record_formats::RecordFormats;
pub use redactor::Redactor;
pub use repos::{RepoKey, RepoRef, owner_of, pattern_fits, pattern_problem, same_owner};
pub use rerun::{
    FailedJob, FailureCause, Interruption, RerunEnd, RerunJobs, RerunKey, RerunPolicy, RerunScope,
    RerunView, Reruns, WorkflowJob, WorkflowRun,
};
pub use run::{About, Condition, Phase, Reason, Run, Spec, Status};
pub use runner_setup::{RunnerCache, RunnerConfig, RunnerDownload, RunnerSetup};
pub use seat_limits::{LimitOf, LimitReached, SeatLimits};
pub use secret::Secret;
pub use spot::SpotBreaker;
pub use stored::{DecodeError, decode, encode};
pub use timeline::{Happened, Milestone, SeenBy};
pub use unknown_fields::UnknownFields;
pub use usage::{Amount, EndedWithin, RunUsage, Seconds, Usage, UsageKey, UsedMachine};
