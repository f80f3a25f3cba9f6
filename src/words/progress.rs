//! The progress of a job, for lines of the log: `running after 31 s`.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::{Event, RerunOutcome};
use tinqs_ci_reconciler::model::Outcome;

use super::precisely;

/// The maximum length of a refusal, in characters: its remedy stands at its end and must be kept.
const MESSAGE: usize = 800;

/// Says how the job of a report gets on; `None` if the event is not about the job.
pub fn sentence(event: &Event) -> Option<String> {
    Some(match event {
        Event::Launched { class, waited_ms, .. } => {
            format!(
                "machine started (class {class}) in {}",
                precisely(SignedDuration::from_millis(*waited_ms))
            )
        }
        Event::Started { waited_seconds } => {
            format!("running after {}", precisely(SignedDuration::from_secs(*waited_seconds)))
        }
        Event::Finished { outcome, ran_ms } => ended(*outcome, *ran_ms),
        Event::ConditionBegan { reason, message } => {
            format!("{reason}: {}", cut(message))
        }
        Event::ConditionEnded { reason, held_seconds } => {
            format!(
                "no longer {reason}, after {}",
                precisely(SignedDuration::from_secs(*held_seconds))
            )
        }
        Event::Interrupted { machine } => {
            format!("the cloud took machine {} of the job", cut(&machine.0))
        }
        Event::Rerun { outcome } => match outcome {
            RerunOutcome::Accepted => "run again, because the cloud took its machine".to_owned(),
            RerunOutcome::NotDone => "not run again yet: its workflow run goes on".to_owned(),
            RerunOutcome::Denied => {
                "not run again: `forge.token` may not change Actions".to_owned()
            }
            RerunOutcome::Failed => "not known to run again: the call failed".to_owned(),
            RerunOutcome::Not(why) => format!("not run again: {}", why.words()),
        },
        Event::Created
        | Event::Counted { .. }
        | Event::BreakerOpened { .. }
        | Event::BreakerClosed { .. }
        | Event::ClockDiffers { .. }
        | Event::ClockAgrees => return None,
    })
}

fn ended(outcome: Outcome, ran_ms: Option<i64>) -> String {
    let (what, how_long) = match outcome {
        Outcome::Succeeded => ("succeeded", "in"),
        Outcome::Failed => ("failed", "after"),
        Outcome::Cancelled => ("canceled", "after"),
        Outcome::Skipped => ("skipped", "after"),
        Outcome::JobGone => ("no longer exists at the forge", "after"),
        Outcome::GaveUp => ("given up: it waited too long", "after"),
        Outcome::MachineEnded => ("its machine ended", "after"),
        Outcome::MachineLost => ("failed because its machine was lost,", "after"),
        Outcome::MaxAge => ("failed because its machine reached its maximum age,", "after"),
    };
    match ran_ms {
        Some(ran) => format!("{what} {how_long} {}", precisely(SignedDuration::from_millis(ran))),
        None => what.trim_end_matches(',').to_owned(),
    }
}

fn cut(message: &str) -> String {
    message.chars().take(MESSAGE).collect()
}
