//! Durations in words.

use jiff::{SignedDuration, Timestamp};

/// Returns a duration with one unit: `12 s`, `3 min`, `4 h`, `2 d`. A negative one is `0 s`.
pub fn lasting(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Returns the time since `then`: `3 min ago`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", lasting(now.duration_since(then)))
}

/// Returns a duration with up to two units: `0.2 s`, `31 s`, `2 min 5 s`, `1 h 3 min`. A negative
/// one is `0.0 s`.
pub fn precisely(duration: SignedDuration) -> String {
    let milliseconds = duration.as_millis().max(0);
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("0.{} s", milliseconds / 100),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_one_unit_or_precisely_two() {
        let cases = [
            (-5_000, "0 s", "0.0 s"),
            (240, "0 s", "0.2 s"),
            (59_990, "59 s", "59 s"),
            (60_000, "1 min", "1 min 0 s"),
            (7_199_000, "1 h", "1 h 59 min"),
            (259_200_000, "3 d", "72 h 0 min"),
        ];
        for (milliseconds, one, two) in cases {
            let duration = SignedDuration::from_millis(milliseconds);
            assert_eq!((lasting(duration).as_str(), precisely(duration).as_str()), (one, two));
        }
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(ago(now - SignedDuration::from_mins(2), now), "2 min ago");
    }
}
