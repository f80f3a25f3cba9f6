//! The client's credentials, which may be replaced while it is used, and their redaction.

use std::fmt;
use std::sync::OnceLock;

use axum::http::HeaderValue;
use parking_lot::{Mutex, RwLock};
use tinqs_ci_reconciler::model::Secret;

use super::Error;
use crate::config::Config;

/// The number of secrets of the forge, such as runner tokens, that are redacted in messages.
const SEEN: usize = 17;
/// The number of configured secrets that are redacted, those before a replacement included.
const CONFIGURED: usize = 64;

/// Called when the forge rejects the token: may call [`super::Client::configure`] with a new one.
type Reread = Box<dyn Fn() + Send + Sync>;

/// The credentials in force, and all that no error may quote, even if the forge echoes them.
pub(super) struct Credentials {
    current: RwLock<Current>,
    seen: Mutex<Vec<Secret>>,
    reread: OnceLock<Reread>,
}

#[derive(Default)]
struct Current {
    token: Option<HeaderValue>,
    runner_token: Option<Secret>,
    /// Newest last.
    configured: Vec<Secret>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    pub(super) fn new(forge: &Config) -> Result<Self, Error> {
        let credentials =
            Self { current: RwLock::default(), seen: Mutex::default(), reread: OnceLock::new() };
        credentials.replace(forge)?;
        Ok(credentials)
    }

    /// Replaces the credentials by those of `forge`. Returns whether one that the client sends has
    /// changed. After an error the former ones stay.
    pub(super) fn replace(&self, forge: &Config) -> Result<bool, Error> {
        let given = |secret: Option<&Secret>| secret.filter(|s| !s.expose().is_empty()).cloned();
        let token = given(forge.token.as_ref());
        let runner_token = given(forge.runner_token.as_ref());
        let header = token.as_ref().map(header).transpose()?;
        let others = [forge.webhook_secret.clone(), forge.git_token.clone()];
        let mut current = self.current.write();
        let all = [token, runner_token.clone()].into_iter().chain(others).flatten();
        for secret in all {
            current.configured.retain(|known| *known != secret);
            current.configured.push(secret);
        }
        // The forge may still quote a former one.
        let surplus = current.configured.len().saturating_sub(CONFIGURED);
        current.configured.drain(..surplus);
        let changed = current.token != header || current.runner_token != runner_token;
        (current.token, current.runner_token) = (header, runner_token);
        Ok(changed)
    }

    /// The header of the API token.
    pub(super) fn token(&self) -> Option<HeaderValue> {
        self.current.read().token.clone()
    }

    /// The configured registration token.
    pub(super) fn runner_token(&self) -> Option<Secret> {
        self.current.read().runner_token.clone()
    }

    /// Sets what is called when the forge rejects the token. Only the first call has an effect.
    pub(super) fn on_rejected(&self, reread: Reread) {
        let _ = self.reread.set(reread);
    }

    /// Asks for a new token after the forge rejected `used`. Returns it if it differs.
    pub(super) fn renewed(&self, used: Option<&HeaderValue>) -> Option<HeaderValue> {
        if let Some(reread) = self.reread.get() {
            reread();
        }
        self.token().filter(|token| Some(token) != used)
    }

    /// Adds a secret of the forge that no error will quote.
    pub(super) fn keep_secret(&self, secret: &Secret) {
        let mut seen = self.seen.lock();
        if !seen.contains(secret) {
            if seen.len() >= SEEN {
                seen.remove(0);
            }
            seen.push(secret.clone());
        }
    }

    /// Returns the text without known secrets.
    pub(super) fn redacted(&self, text: &str) -> String {
        let (current, seen) = (self.current.read(), self.seen.lock());
        let all = current.configured.iter().chain(seen.iter());
        let known = all.filter(|secret| !secret.is_short()).map(Secret::expose);
        known.fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"))
    }
}

/// The `Authorization` header of an API token.
fn header(token: &Secret) -> Result<HeaderValue, Error> {
    let mut value =
        HeaderValue::from_str(&format!("token {}", token.expose())).map_err(|_| Error::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::config::{Demand, RegisterIn, Scope};

    fn config(token: &str) -> Config {
        Config {
            url: "http://forge".to_owned(),
            machine_url: None,
            token: Some(Secret::new(token)),
            runner_token: None,
            webhook_secret: None,
            git_token: None,
            demand: Demand::Auto,
            scope: Scope::All,
            register_in: RegisterIn::Repository,
            poll_every: SignedDuration::from_secs(10),
            sweep_every: SignedDuration::from_mins(1),
        }
    }

    #[test]
    fn a_replaced_token_is_sent_and_the_former_one_still_redacted() {
        let credentials = Credentials::new(&config("first-token")).expect("a token");
        credentials.replace(&config("second-token")).expect("a token");
        assert_eq!(credentials.token().expect("set"), "token second-token");
        for n in 0..100 {
            credentials.keep_secret(&Secret::new(format!("runner-token-{n}")));
        }
        let text = credentials.redacted("first-token second-token runner-token-99 other");
        assert_eq!(text, "[secret] [secret] [secret] other");
    }

    #[test]
    fn a_token_that_no_header_can_hold_changes_nothing() {
        let credentials = Credentials::new(&config("first-token")).expect("a token");
        assert!(credentials.replace(&config("two\nlines")).is_err());
        assert_eq!(credentials.token().expect("set"), "token first-token");
    }

    #[test]
    fn a_rejected_token_is_read_again_and_only_another_one_is_used() {
        let credentials =
            std::sync::Arc::new(Credentials::new(&config("first-token")).expect("a token"));
        let used = credentials.token();
        assert_eq!(credentials.renewed(used.as_ref()), None, "nothing reads it again");
        let weak = std::sync::Arc::downgrade(&credentials);
        credentials.on_rejected(Box::new(move || {
            let credentials = weak.upgrade().expect("in use");
            credentials.replace(&config("second-token")).expect("a token");
        }));
        let renewed = credentials.renewed(used.as_ref());
        assert_eq!(renewed.as_ref().expect("new"), "token second-token");
        assert_eq!(credentials.renewed(renewed.as_ref()), None, "the same again");
    }
}
