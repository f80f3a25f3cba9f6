//! The stored form of a record: the only one that contains credentials, or their digests.

use super::run::Run;

/// Encodes a run for the store as JSON, including its credentials.
pub fn encode(run: &Run) -> Vec<u8> {
    let Some(attempt) = &run.status.attempt else {
        // Without an attempt there is no credential. Nothing in it can fail to serialize.
        return serde_json::to_vec(run).unwrap_or_default();
    };
    let mut value = serde_json::to_value(run).unwrap_or_default();
    let stored = &mut value["status"]["attempt"];
    stored["runner"]["token"] = attempt.runner.token.to_stored().into();
    if let Some(token) = &attempt.boot.git_token {
        stored["boot"]["git_token"] = token.expose().into();
    }
    value.to_string().into_bytes()
}

/// Decodes a run from the store.
///
/// # Errors
/// Returns an error if the bytes are not a run.
pub fn decode(bytes: &[u8]) -> Result<Run, serde_json::Error> {
    let mut run: Run = serde_json::from_slice(bytes)?;
    if let Some(attempt) = &mut run.status.attempt {
        attempt.runner.token.read_stored();
    }
    Ok(run)
}
