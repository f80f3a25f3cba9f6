//! Formats the answers of `/v1` as text that is safe for terminals. Pure.

mod columns;
mod data;
mod describe;
mod drift;
mod events;
mod explain;
mod link;
mod lists;
mod matrix;
mod plan;
mod rebuild;
mod status;
mod timeline;
mod usage;
mod wrapped;

pub use columns::{Cell, Column, Screen, Table, Tone};
pub use data::{json, json_line, yaml};
pub use describe::describe;
pub use drift::drift;
pub use events::events_of;
pub use explain::{explain_job, explain_push};
pub use lists::{Detail, Listed, Machines, table};
pub use plan::plan;
pub use rebuild::rebuild;
pub use status::{banner, status, why};
pub use usage::usage;

use jiff::{SignedDuration, Timestamp};

/// Formats a duration as kubectl does: `12s`, `3m`, `4h`, `2d`. A negative one is `0s`.
pub fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Formats the time since `then`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(then))
}

#[cfg(test)]
mod pages;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_unit() {
        let cases = [
            (-5, "0s"),
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (3_600, "1h"),
            (86_399, "23h"),
            (86_400, "1d"),
            (86_400 * 400, "400d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(span(SignedDuration::from_secs(seconds)), text);
        }
    }
}
