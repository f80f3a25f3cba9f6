//! Sentences for people about reasons and services, and what to do about them.

pub mod drift;
pub mod jobs;
pub mod reasons;
pub mod services;
pub mod timeline;

use jiff::SignedDuration;

/// Returns a duration in words: `12 s`, `3 min`, `4 h`, `2 d`. A negative one is `0 s`.
pub fn lasting(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_one_unit() {
        let cases = [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (7_199, "1 h"), (86_400 * 3, "3 d")];
        for (seconds, words) in cases {
            assert_eq!(lasting(SignedDuration::from_secs(seconds)), words);
        }
    }
}
