//! The places of credentials that are read again: files when they change, AWS from time to time.

use std::time::{Duration, Instant};

use tinqs_ci_reconciler::model::Secret;

use super::file_watch::Why;
use super::secret_watch::WatchedFile;
use crate::settings::{SecretInAws, SecretSources};

/// A secret in AWS is read again after this time.
const EVERY: Duration = Duration::from_mins(10);
/// The same after the forge rejected a credential, or after an error.
const SOONEST: Duration = Duration::from_mins(1);

/// A place of a credential.
pub(super) enum Watched {
    /// A file.
    File(WatchedFile),
    /// A secret in AWS.
    InAws(Timed),
}

/// A secret in AWS, and when it was last read.
pub(super) struct Timed {
    secret: SecretInAws,
    read_at: Instant,
    /// Whether the forge has rejected a credential since.
    is_rejected: bool,
    is_failing: bool,
}

/// Returns the places, which have just been read.
pub(super) fn watched(sources: SecretSources) -> impl Iterator<Item = Watched> {
    let SecretSources { files, in_aws } = sources;
    let files = files.into_iter().map(|file| Watched::File(WatchedFile::new(file)));
    let now = Instant::now();
    files.chain(in_aws.into_iter().map(move |secret| Watched::InAws(Timed::new(secret, now))))
}

impl Watched {
    /// Returns the credential if it is time to read it again, or why it cannot be read; each only
    /// once. [`Why::Rejected`] waits for no network: a secret in AWS is read by the next tick.
    pub(super) fn check(&mut self, why: Why) -> Option<Result<Secret, String>> {
        match self {
            Self::File(file) => file.check(why),
            Self::InAws(timed) => timed.check(why, Instant::now(), SecretInAws::read),
        }
    }

    /// Returns the key of the credential, such as `forge.token`.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::File(watched) => &watched.file.key,
            Self::InAws(timed) => &timed.secret.key,
        }
    }

    /// Names the place in the log.
    pub(super) fn place(&self) -> String {
        match self {
            Self::File(watched) => watched.file.path.display().to_string(),
            Self::InAws(timed) => timed.secret.id.to_string(),
        }
    }

    /// Returns the remedy of a credential that cannot be used.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::File(_) => "the former secret stays in force; write the new one to the file",
            Self::InAws(_) => "the former secret stays in force; correct the new one in AWS",
        }
    }
}

impl Timed {
    fn new(secret: SecretInAws, now: Instant) -> Self {
        Self { secret, read_at: now, is_rejected: false, is_failing: false }
    }

    fn check(
        &mut self,
        why: Why,
        now: Instant,
        read: impl FnOnce(&SecretInAws) -> Result<Secret, String>,
    ) -> Option<Result<Secret, String>> {
        if why == Why::Rejected {
            self.is_rejected = true;
            return None;
        }
        let after = if self.is_rejected || self.is_failing { SOONEST } else { EVERY };
        if now.saturating_duration_since(self.read_at) < after {
            return None;
        }
        let read = read(&self.secret);
        let is_known = self.is_failing && read.is_err();
        self.read_at = now;
        self.is_rejected = false;
        self.is_failing = read.is_err();
        (!is_known).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// A secret in AWS, and the time at which it was read.
    fn timed() -> (Timed, Instant) {
        let secret = SecretInAws::parameter("forge.token", "/ci/token");
        let now = Instant::now();
        (Timed::new(secret, now), now)
    }

    /// The result of a tick, at which AWS answers this.
    fn tick(timed: &mut Timed, now: Instant, aws: &Result<&str, &str>) -> Option<String> {
        let told = aws.map(Secret::new).map_err(str::to_owned);
        let read = timed.check(Why::Tick, now, |_| told)?;
        Some(read.map_or_else(|error| error, |secret| secret.expose().to_owned()))
    }

    #[test]
    fn it_is_read_every_ten_minutes() {
        let (mut timed, start) = timed();
        assert_eq!(tick(&mut timed, start + MINUTE * 9, &Ok("second")), None);
        let second = tick(&mut timed, start + MINUTE * 10, &Ok("second"));
        assert_eq!(second.as_deref(), Some("second"));
        assert_eq!(tick(&mut timed, start + MINUTE * 19, &Ok("third")), None);
        let third = tick(&mut timed, start + MINUTE * 20, &Ok("third"));
        assert_eq!(third.as_deref(), Some("third"));
    }

    #[test]
    fn it_is_read_by_the_next_tick_after_a_rejection_but_at_most_once_a_minute() {
        let (mut timed, start) = timed();
        let rejected = |timed: &mut Timed, now| timed.check(Why::Rejected, now, |_| panic!("read"));
        assert!(rejected(&mut timed, start).is_none(), "no network on a thread of the runtime");
        assert_eq!(tick(&mut timed, start + MINUTE / 2, &Ok("second")), None);
        let second = tick(&mut timed, start + MINUTE, &Ok("second"));
        assert_eq!(second.as_deref(), Some("second"));
        assert_eq!(tick(&mut timed, start + MINUTE * 2, &Ok("third")), None, "not rejected again");
        assert!(rejected(&mut timed, start + MINUTE * 3).is_none());
        let third = tick(&mut timed, start + MINUTE * 3, &Ok("third"));
        assert_eq!(third.as_deref(), Some("third"));
    }

    #[test]
    fn an_error_is_reported_once_and_tried_again_each_minute() {
        let (mut timed, start) = timed();
        let down = tick(&mut timed, start + MINUTE * 10, &Err("down"));
        assert_eq!(down.as_deref(), Some("down"));
        assert_eq!(tick(&mut timed, start + MINUTE * 11, &Err("down")), None, "reported");
        let back = tick(&mut timed, start + MINUTE * 12, &Ok("back"));
        assert_eq!(back.as_deref(), Some("back"));
        assert_eq!(tick(&mut timed, start + MINUTE * 13, &Ok("later")), None);
    }
}
