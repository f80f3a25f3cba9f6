//! The certificate of the server's addresses and its key, as their files hold them.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_net::{Identity, Part};
use tinqs_ci_reconciler::text::cut;

use super::small_file::read_bytes;

/// A certificate that expires this soon should have been renewed.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The certificate of the server's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The file of the certificate.
    pub cert: PathBuf,
    /// The file of its private key.
    pub key: PathBuf,
    /// The content of the files when they were read.
    pub identity: Identity,
}

/// Whether clients accept a certificate at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Not yet: from this time.
    From(Timestamp),
    /// They do, for more than two weeks.
    Good(Timestamp),
    /// They do, but not for long: until this time.
    Soon(Timestamp),
    /// No more since this time.
    Expired(Timestamp),
}

impl Tls {
    /// Reads and checks the two files. When the certificate is valid is not checked.
    ///
    /// # Errors
    /// The part that cannot be used, and a sentence that names its file and the cause, but nothing
    /// of the key.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, (Part, String)> {
        let certificate = read_bytes(cert).map_err(|why| (Part::Certificate, why))?;
        let private = read_bytes(key).map_err(|why| (Part::Key, why))?;
        let identity = Identity::from_pem(&certificate, &private).map_err(|flaw| {
            let file = match flaw.part() {
                Part::Certificate => cert,
                Part::Key => key,
            };
            (flaw.part(), format!("the file `{}` {flaw}", cut(&file.to_string_lossy(), 200)))
        })?;
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), identity })
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As [`Self::read`], with the key of the configuration.
    pub fn read_again(&self) -> Result<Self, String> {
        let key = |part| match part {
            Part::Certificate => "server.tls.cert",
            Part::Key => "server.tls.key",
        };
        Self::read(&self.cert, &self.key).map_err(|(part, why)| format!("{}: {why}", key(part)))
    }

    /// Returns when the certificate expires.
    pub fn expires_at(&self) -> Timestamp {
        time(self.identity.valid_until())
    }

    /// Whether clients accept the certificate now.
    pub fn validity(&self, now: Timestamp) -> Validity {
        let (from, until) = (time(self.identity.valid_from()), self.expires_at());
        if now > until {
            Validity::Expired(until)
        } else if now < from {
            Validity::From(from)
        } else if until.duration_since(now) < SOON {
            Validity::Soon(until)
        } else {
            Validity::Good(until)
        }
    }
}

impl Validity {
    /// Returns what is wrong, as the end of a sentence about the certificate.
    pub fn problem(self, now: Timestamp) -> Option<String> {
        match self {
            Self::Good(_) => None,
            Self::From(from) => {
                Some(format!("is not valid before {from:.0}: check the clock of this host"))
            }
            Self::Soon(until) => Some(format!(
                "expires in {} on {until:.0}: renew it",
                days(until.duration_since(now))
            )),
            Self::Expired(until) => {
                Some(format!("expired on {until:.0}, and clients refuse it: renew it"))
            }
        }
    }
}

/// Returns whole days, rounded down.
pub(crate) fn days(left: SignedDuration) -> String {
    let days = left.as_hours() / 24;
    format!("{days} day{}", if days == 1 { "" } else { "s" })
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
