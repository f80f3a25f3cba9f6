//! Figures and their output.

use serde_json::json;

/// A result whose error means that a figure could not be measured.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The goal of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// At most this.
    Most(f64),
    /// Exactly zero; otherwise there is a bug, and the program fails regardless of its flags.
    Nothing,
    /// No goal: the figure explains another one.
    Told,
}

/// Prints figures and records missed goals.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    missed: bool,
    lost: bool,
}

impl Figures {
    /// Prints one line: `{"figure": "group/name", "value": …, "unit": "…", "goal": …, "met": …}`.
    pub(crate) fn tell(&mut self, name: &str, value: f64, unit: &str, goal: Goal) {
        let rounded = (value * 1000.0).round() / 1000.0;
        let mut line = json!({ "figure": name, "value": rounded, "unit": unit });
        let most = match goal {
            Goal::Most(most) => Some(most),
            Goal::Nothing => Some(0.0),
            Goal::Told => None,
        };
        if let Some(most) = most {
            let met = value <= most;
            line["goal"] = most.into();
            line["met"] = met.into();
            self.missed |= !met;
            self.lost |= !met && matches!(goal, Goal::Nothing);
        }
        println!("{line}");
    }

    /// Returns whether a goal was missed.
    pub(crate) fn missed(&self) -> bool {
        self.missed
    }

    /// Returns whether a figure that must be zero is not.
    pub(crate) fn lost(&self) -> bool {
        self.lost
    }
}

/// Returns the value below which this share of the values lies, or 0 if there are none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_truncation)]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Converts a count to a float.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}
