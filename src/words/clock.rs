//! The clock of this process against the true time, in words.

use jiff::SignedDuration;

use super::lasting;

/// The reason of a clock that differs from the true time.
pub const CLOCK_DIFFERS: &str = "ClockDiffers";

/// The remedy for a person.
pub const FIX: &str = "synchronize the clocks of this host and of the forge's with NTP";

/// Says how far this process's clock is ahead, or behind if negative, and what follows.
pub fn differs(ahead: SignedDuration) -> String {
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    let by = lasting(SignedDuration::from_secs(ahead.as_secs().saturating_abs()));
    format!(
        "this host's clock is {by} {side} the forge's: machines, registrations and seats that only \
         the time makes superfluous are kept until both agree within 2 min"
    )
}
