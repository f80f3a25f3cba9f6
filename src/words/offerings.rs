//! The reasons that offerings are unavailable.

use tinqs_ci_reconciler::model::Cause;

/// Says why an offering is skipped.
pub fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Capacity => "no capacity",
        Cause::Unsupported => "the kind is not offered there",
        Cause::Addresses => "the subnet has no free address",
        Cause::Quota => "the account's limit is reached",
        Cause::Market => "the account may not use this market",
        Cause::Attempt => "the launch itself was refused",
        Cause::Unpriced => "its price is not known, and the class has a budget",
    }
}
