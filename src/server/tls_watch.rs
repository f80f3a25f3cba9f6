//! Notices that the files of the server's certificate have changed, and that it expires.

use jiff::Timestamp;

use super::file_watch::{Seen, Why};
use crate::settings::{Tls, Validity};

/// The remedy for a certificate that has expired, or will soon.
const RENEW: &str = "renew it; its files are read again when they change";

/// The files of the certificate in force, and what was told of it.
#[derive(Debug, Default)]
pub(super) struct TlsWatch {
    seen: Seen,
    /// Whether the last read failed.
    pub(super) failing: bool,
    told: Option<Validity>,
}

impl TlsWatch {
    /// Returns what the files hold if one of them has changed since they were last read, or why that
    /// cannot be used; each only once. A client of ACME writes one after the other, so both must be
    /// the same in two checks in a row.
    pub(super) fn check(&mut self, tls: &Tls, now: Timestamp) -> Option<Result<Tls, String>> {
        let changed = self.seen.changed(&[&tls.cert, &tls.key], Why::Tick)?;
        let first = self.seen.is_first();
        let stream = changed.has_stream();
        self.seen.note(changed);
        if stream {
            let why = "server.tls: one of its two files is no longer a file";
            return (!first).then(|| Err(why.to_owned()));
        }
        let read = tls.read_again();
        Some(read.and_then(|new| match new.validity(now) {
            // The start has told of the one in force.
            Validity::Expired(_) if new != *tls => {
                let problem = new.validity(now).problem(now).unwrap_or_default();
                Err(format!("server.tls.cert: the certificate in its file {problem}"))
            }
            _ => Ok(new),
        }))
    }

    /// Lets the files be read again, after others may have been put in force.
    pub(super) fn forget(&mut self) {
        self.seen = Seen::default();
    }

    /// Warns once when the certificate in force will expire soon, and once when it has.
    pub(super) fn warn(&mut self, tls: &Tls, now: Timestamp) {
        let validity = tls.validity(now);
        if self.told == Some(validity) {
            return;
        }
        self.told = Some(validity);
        if let Some(problem) = validity.problem(now) {
            let file = tls.cert.display();
            tracing::warn!(%file, problem, hint = RENEW, "certificate needs attention");
        }
    }
}
