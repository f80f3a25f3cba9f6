//! A month of light work, for what is summed over days.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Class, ClassName, Market};

use super::draw::{KEEP, linux, minutes};
use super::profile::Profile;
use super::user_actions;
use crate::cloud::UNPRICED;
use crate::faults::FaultProfile;

impl Profile {
    /// January: each day two bursts by daylight, of three classes and three repositories. The cloud
    /// takes machines back, and two replicas die and lose replies all the time. Every machine ends on
    /// the day of its launch. It is not among [`all`](Self::all), which last for hours.
    pub fn month() -> Self {
        Self {
            name: "month",
            faults: |_| FaultProfile {
                crash: 0.001,
                reply_lost: 0.01,
                interrupted: 0.2,
                stillborn: 0.02,
                ..FaultProfile::default()
            },
            user_actions: user_actions::month,
            lasts: SignedDuration::ZERO,
            classes: vec![
                linux(KEEP),
                class("deploy", "c7a.large", Market::OnDemand),
                class("gpu", UNPRICED, Market::Spot),
            ],
            replicas: (2, 2),
            waits_at_most: minutes(120),
            settled: SignedDuration::ZERO,
            ..Self::calm()
        }
    }
}

/// Returns a class of one kind for the label of its name.
fn class(name: &str, kind: &str, market: Market) -> Class {
    let mut class = linux(KEEP);
    class.name = ClassName(name.to_owned());
    class.labels = vec![name.to_owned()];
    for machine in &mut class.machines {
        kind.clone_into(&mut machine.kind);
        machine.market = market;
    }
    class
}
