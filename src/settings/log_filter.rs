//! The form of log filters.

use tracing_subscriber::filter::Targets;

/// Checks a log filter. The error is empty: the form of the key says what is expected.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match text.parse::<Targets>() {
        Ok(_) if !text.trim().is_empty() && !text.contains(char::is_control) => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err(String::new()),
    }
}
