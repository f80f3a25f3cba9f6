//! The stored form of a record: the only one that contains credentials, or their digests.

use serde_json::Value;

use super::run::Run;
use super::runner_setup::RunnerConfig;

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
    let placements = stored["placements"].as_array_mut().into_iter().flatten();
    for (stored, placement) in placements.zip(&attempt.placements) {
        let setup = placement.machine.runner.as_ref();
        if let Some(config) = setup.and_then(|setup| setup.config.as_ref()) {
            put_secrets(config, &mut stored["machine"]["runner"]["config"]);
        }
    }
    value.to_string().into_bytes()
}

/// Puts the credentials of a runner's configuration into its stored form.
fn put_secrets(config: &RunnerConfig, stored: &mut Value) {
    for (name, value) in &config.envs {
        stored["envs"][name.as_str()] = value.expose().into();
    }
    if let Some(secret) = &config.cache.external_secret {
        stored["cache"]["external_secret"] = secret.expose().into();
    }
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
