//! The rows of a run's timeline.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::Milestone;

use crate::words::timeline::happened;

/// The columns of [`Row::head`].
pub(super) const HEAD: usize = 19;

/// A milestone.
pub(super) struct Row {
    /// The time, and the time since the milestone before: `22:31:07    +0.4s  `.
    pub(super) head: String,
    /// The event in words, safe for terminals.
    pub(super) told: String,
}

/// Returns the rows of a timeline, oldest first. Times are in UTC.
pub(super) fn rows(timeline: &[Milestone]) -> Vec<Row> {
    let mut before: Option<Timestamp> = None;
    let mut rows = Vec::new();
    for milestone in timeline {
        let at = milestone.at;
        let passed = before.map(|before| passed(at.duration_since(before))).unwrap_or_default();
        let head = format!("{}  {passed:>7}  ", at.strftime("%H:%M:%S"));
        rows.push(Row { head, told: happened(&milestone.what) });
        before = Some(at);
    }
    rows
}

/// Returns `+0.4s`, `+2m5s`, `+1h3m` or `+2d4h`. A negative duration is `+0.0s`.
fn passed(duration: SignedDuration) -> String {
    let milliseconds = duration.as_millis().max(0);
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("+{seconds}.{}s", milliseconds % 1000 / 100),
        60..3_600 => format!("+{}m{}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("+{}h{}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("+{}d{}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::{Happened, SeenBy};

    use super::*;

    #[test]
    fn each_row_has_its_time_and_the_time_since_the_one_before() {
        let start: Timestamp = "2026-11-24T22:31:07.25Z".parse().expect("a time");
        let after = |milliseconds| start + SignedDuration::from_millis(milliseconds);
        let timeline = [
            Milestone::new(start, Happened::Seen { by: SeenBy::Webhook }),
            Milestone::new(after(400), Happened::Registered { attempt: 1 }),
            Milestone::new(after(86_400_400), Happened::Blocked),
        ];
        let rows = rows(&timeline);
        assert!(rows.iter().all(|row| row.head.len() == HEAD));
        let shown: Vec<String> =
            rows.into_iter().map(|row| format!("{}{}", row.head, row.told)).collect();
        let expected = [
            "22:31:07           a webhook announced the job",
            "22:31:07    +0.4s  a runner was registered for it",
            "22:31:07    +1d0h  the forge blocked the job",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_time_between_two_rows_has_at_most_two_units() {
        let cases = [
            (-5, "+0.0s"),
            (59_990, "+59.9s"),
            (125_000, "+2m5s"),
            (3_780_000, "+1h3m"),
            (187_200_000, "+2d4h"),
        ];
        for (milliseconds, text) in cases {
            assert_eq!(passed(SignedDuration::from_millis(milliseconds)), text);
        }
    }
}
