//! A record as a store keeps it: the only form that holds credentials.

use super::run::Run;

/// A record for the store: the run as JSON, with its credentials. Nothing else may show them.
pub fn encode(run: &Run) -> Vec<u8> {
    let Some(attempt) = &run.status.attempt else {
        // Without an attempt there is no credential. Nothing in it can fail to serialise.
        return serde_json::to_vec(run).unwrap_or_default();
    };
    let mut value = serde_json::to_value(run).unwrap_or_default();
    let stored = &mut value["status"]["attempt"];
    stored["runner"]["token"] = attempt.runner.token.expose().into();
    if let Some(token) = &attempt.boot.git_token {
        stored["boot"]["git_token"] = token.expose().into();
    }
    value.to_string().into_bytes()
}

/// A record from the store.
///
/// # Errors
/// What is wrong with it, where it is not a run.
pub fn decode(bytes: &[u8]) -> Result<Run, serde_json::Error> {
    serde_json::from_slice(bytes)
}
