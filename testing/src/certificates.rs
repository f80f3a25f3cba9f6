//! Certificates and keys, made for one test each.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// A certificate and its key, as PEM text.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, and that of its authority.
    pub cert: String,
    /// The private key.
    pub key: String,
}

/// A private authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Makes one.
    pub fn new() -> Self {
        let mut params = params(&[], 365);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a private authority");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Returns its certificate as PEM text.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for these names, valid for a year.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_for(names, 365)
    }

    /// Issues a certificate that ends at midnight after so many days, or ended before.
    pub fn issue_for(&self, names: &[&str], days: i64) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let cert = params(names, days).signed_by(&key, &self.issuer).expect("signed").pem();
        Issued { cert: cert + &self.pem, key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Issued {
    /// Makes a certificate that signs itself; with `authority` one that also says to be one, as
    /// `openssl req -x509` makes them.
    pub fn self_signed(names: &[&str], authority: bool) -> Self {
        let mut params = params(names, 365);
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("signed").pem();
        Self { cert, key: key.serialize_pem() }
    }

    /// Writes the pair to `cert.pem` and `key.pem`; only their user reads the key.
    pub fn write(&self, folder: &Path) -> [PathBuf; 2] {
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name));
        std::fs::write(&cert, &self.cert).expect("written");
        std::fs::write(&key, &self.key).expect("written");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&key, mode).expect("its mode is set");
        [cert, key]
    }

    /// Returns the lines of the key that are secret.
    pub fn secret_lines(&self) -> Vec<&str> {
        self.key.lines().filter(|line| !line.starts_with('-') && line.len() > 8).collect()
    }
}

fn params(names: &[&str], days: i64) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    let date = |days: i64| {
        let at = Timestamp::now() + SignedDuration::from_hours(24 * days);
        let date = TimeZone::UTC.to_datetime(at).date();
        let part = |number: i8| u8::try_from(number).expect("a month or a day");
        date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    params.not_before = date(days.min(0) - 30);
    params.not_after = date(days);
    params
}
