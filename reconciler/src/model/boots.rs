//! Boots: what the machines of past attempts say about the image of their class.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, BootResult, End, Ended, PastAttempt};
use super::class::ClassName;
use super::run::Run;
use crate::text::cut;

/// The maximum number of results that the summary of a run keeps.
const KEPT: usize = 3;
/// The maximum length of a class's name in a message, in columns.
const NAME: usize = 60;
/// The remedy of a person.
const REMEDY: &str = "check its image, and that machines reach the forge";
/// The same if no machine gets as far as its image.
const LAUNCH_REMEDY: &str = "check the key that encrypts their disks, and the image's snapshot";

/// The result of one machine of a class.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct ClassBoot {
    /// The class of its attempt.
    pub class: ClassName,
    /// The result.
    pub result: BootResult,
}

/// The latest machines of a class never came online, or their launches failed after the cloud had
/// accepted them: it launches one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct BootStop {
    /// The number of them that the records still tell, without one that came online.
    pub machines: u32,
    /// Time at which the third of them was known, or the second if the launches failed, as far as
    /// the records tell it.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub since: Timestamp,
    /// Time from which one attempt may try again.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub until: Timestamp,
    /// Whether the latest launches failed after the cloud had accepted them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub launch_failed: bool,
}

impl BootStop {
    /// Returns whether a message is that of [`Self::message`] about machines that were up.
    pub(crate) fn is_told_by(message: &str) -> bool {
        message.ends_with(REMEDY)
    }

    /// Says why the class launches nothing. The message stays the same with each attempt that
    /// fails, so that the records of waiting runs are not written again.
    pub fn message(&self, class: &ClassName) -> String {
        let class = cut(&class.0, NAME);
        if self.launch_failed {
            return format!(
                "the cloud accepts launches of class {class} but ends the machines before they \
                 boot, so it launches one at a time, every 5 min: {LAUNCH_REMEDY}"
            );
        }
        format!(
            "machines of class {class} start but their runners never come online, so it launches \
             one at a time, every 5 min: {REMEDY}"
        )
    }

    /// Says the same for people, with the number of machines.
    pub fn detail(&self) -> String {
        let machines = self.machines;
        if self.launch_failed {
            return format!(
                "none of the last {machines} machines came online, and the cloud ended the latest \
                 before they booted: {LAUNCH_REMEDY}; `tinqs-ci describe NAME` of a waiting run \
                 shows what the cloud said"
            );
        }
        format!(
            "the last {machines} machines started but their runners never came online: {REMEDY}; \
             `tinqs-ci describe NAME` of a waiting run shows what its machine printed"
        )
    }
}

/// Returns the result of an attempt: what is recorded, or else that a job used it.
fn result_of(recorded: Option<BootResult>, ended: Option<Ended>) -> Option<BootResult> {
    let used = || ended.filter(|ended| ended.why == End::Consumed);
    recorded.or_else(|| {
        used().map(|ended| BootResult { at: ended.at, online: true, launch_failed: false })
    })
}

/// Returns the latest results of a run's machines, newest first; at most three.
pub fn boots_of(run: &Run) -> Vec<ClassBoot> {
    let current = run.status.attempt.iter().map(|attempt| {
        let Attempt { class, boot_result, ended, .. } = attempt;
        (class, result_of(*boot_result, *ended))
    });
    let past = run.status.past.iter().map(|past| {
        let PastAttempt { class, boot_result, ended, .. } = past;
        (class, result_of(*boot_result, Some(*ended)))
    });
    let results = current.chain(past);
    let mut boots: Vec<ClassBoot> = results
        .filter_map(|(class, result)| Some(ClassBoot { class: class.clone(), result: result? }))
        .collect();
    boots.sort_by_key(|boot| std::cmp::Reverse(boot.result));
    boots.truncate(KEPT);
    boots
}
