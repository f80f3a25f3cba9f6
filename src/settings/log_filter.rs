//! The form of log filters.

use tracing_subscriber::filter::Targets;

/// Checks a log filter. The error is empty: the form of the key says what is expected.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match text.parse::<Targets>() {
        Ok(_) if !text.trim().is_empty() && !text.contains(char::is_control) => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_lists_are_filters_and_nothing_else_is() {
        for good in ["info", "debug", "info,tinqs_ci=debug", "off"] {
            assert_eq!(log_filter(good), Ok(good.to_owned()));
        }
        for bad in ["", "  ", "tinqs_ci=loud", "info\n", "a=b=c"] {
            assert!(log_filter(bad).is_err(), "{bad:?}");
        }
    }
}
