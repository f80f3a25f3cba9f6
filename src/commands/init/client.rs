//! The client that tests what was entered.

use std::sync::Arc;

use tinqs_ci_gitea::client::Client;
use tinqs_ci_gitea::{Config, Demand, RegisterIn, Scope};
use tinqs_ci_local::SystemClock;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::ports::PortError;

use crate::commands::failure::Failure;

/// A wrong answer, and the question to ask again.
pub(super) enum Problem {
    Token(Failure),
    Scope(Failure),
    /// No other answer helps.
    Forge(Failure),
}

impl Problem {
    pub(super) fn into_failure(self) -> Failure {
        let (Self::Token(failure) | Self::Scope(failure) | Self::Forge(failure)) = self;
        failure
    }
}

/// Returns a client with the defaults of a configuration.
pub(super) fn client(
    url: &str,
    token: Option<&Secret>,
    scope: &Scope,
) -> Result<Client, tinqs_ci_gitea::client::Error> {
    let config = Config {
        url: url.to_owned(),
        machine_url: None,
        token: token.cloned(),
        runner_token: None,
        webhook_secret: None,
        git_token: None,
        demand: Demand::Auto,
        scope: scope.clone(),
        register_in: RegisterIn::Repository,
        poll_every: jiff::SignedDuration::from_secs(10),
        sweep_every: jiff::SignedDuration::from_secs(60),
    };
    Client::new(&config, Arc::new(SystemClock))
}

/// Returns a client that tests a token in a scope.
pub(super) fn client_of(url: &str, token: &Secret, scope: &Scope) -> Result<Client, Problem> {
    client(url, Some(token), scope).map_err(|error| {
        let message = format!("cannot query the forge: {error}");
        Problem::Token(Failure::usage(message).hint("check the token"))
    })
}

/// The forge does not answer while a token is tested.
pub(super) fn untested(error: &PortError) -> Problem {
    let message = format!("cannot test the token: {}", error.message);
    Problem::Forge(Failure::failed(message).hint("check that the forge is running"))
}
