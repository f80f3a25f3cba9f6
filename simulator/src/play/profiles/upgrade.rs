//! Releases side by side.

use tinqs_ci_reconciler::model::RecordFormats;

use crate::faults::{FaultProfile, Rng};
use crate::play::draw::{minutes, one_of};
use crate::play::profile::{Profile, Upgrade};

/// A release that writes the first format, and reads the next one or not.
const EARLIER: [RecordFormats; 2] =
    [RecordFormats { reads: 2, writes: 1 }, RecordFormats { reads: 1, writes: 1 }];
const LATER: RecordFormats = RecordFormats { reads: 3, writes: 2 };

impl Profile {
    /// Three replicas get a later release one by one. Two go back before the third one follows; then
    /// all are upgraded, and one of those goes back that can read the new format. In half of the
    /// histories a release was left out: the earlier one does not read the new format.
    pub fn upgrade() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            crash: one_of(rng, &[0.0, 0.002]),
            reply_lost: one_of(rng, &[0.0, 0.05]),
            wake_doubled: 0.2,
            ..FaultProfile::default()
        };
        let upgrades = |rng: &mut Rng| {
            let earlier = one_of(rng, &EARLIER);
            let mut steps = vec![
                (0, 0, earlier),
                (0, 1, earlier),
                (0, 2, earlier),
                (60, 0, LATER),
                (75, 1, LATER),
                (120, 0, earlier),
                (125, 1, earlier),
                (180, 0, LATER),
                (190, 1, LATER),
                (200, 2, LATER),
            ];
            if earlier.reads >= LATER.writes {
                steps.push((280, 1, earlier));
            }
            let steps = steps.into_iter();
            steps
                .map(|(after, replica, to)| Upgrade { after: minutes(after), replica, to })
                .collect()
        };
        Self { upgrades, ..Self::mixed("upgrade", faults, 60) }
    }
}
