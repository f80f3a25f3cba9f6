//! Names and IDs of installations, runs, incarnations, attempts and machines.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use text_id;

text_id! {
    /// A machine's ID at its cloud.
    MachineId
}

/// A run's name: `job-<job id>`, or `push-<16 hex>` in push mode. Shared, because every machine,
/// registration and seat of a listing carries one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunName(Arc<str>);

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for RunName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RunName".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(job-(0|[1-9][0-9]{0,18})|push-[0-9a-f]{16})$",
            "description": "A run's name: `job-<job id>`, or `push-<16 hex>` in push mode."
        })
    }
}

impl RunName {
    /// Returns the name of the run for a job that the forge lists.
    pub fn job(job_id: i64) -> Self {
        Self(format!("job-{job_id}").into())
    }

    /// Returns the name of the run for a job that a push triggers; `parts` identify the job.
    pub fn push(parts: &[&str]) -> Self {
        Self(format!("push-{}", &hash_hex(parts)[..16]).into())
    }

    /// Returns whether a push triggered the run: its job cannot be read from the forge.
    pub fn is_push(&self) -> bool {
        self.0.starts_with("push-")
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text does not have the expected form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} `{text}`: expected {form}")]
pub struct ParseError {
    text: String,
    what: &'static str,
    form: &'static str,
}

impl FromStr for RunName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let job = text.strip_prefix("job-").is_some_and(|n| n.len() <= 19 && is_number(n));
        let push = text.strip_prefix("push-").is_some_and(|n| n.len() == 16 && is_lower_hex(n));
        if job || push {
            return Ok(Self(text.into()));
        }
        Err(ParseError {
            text: text.chars().take(60).collect(),
            what: "run name",
            form: "`job-<number>` or `push-<16 hex digits>`",
        })
    }
}

impl TryFrom<String> for RunName {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<RunName> for String {
    fn from(name: RunName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// Rejects leading zeros, so that a name has one spelling.
fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Hashes the parts to lower-case hex. Their lengths keep `["ab"]` and `["a", "b"]` apart.
pub(crate) fn hash_hex(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hex::encode(hasher.finalize())
}

text_id! {
    /// An installation's ID: the first 4 hex digits of the SHA-256 of its name. Each attempt ID
    /// carries it, so that installations at one forge leave each other's registrations alone. The
    /// empty one is of no installation.
    #[derive(Default)]
    InstallationId
}

impl InstallationId {
    /// Returns the ID of the installation with this name.
    pub fn of(installation: &str) -> Self {
        let hash = Sha256::digest(installation.as_bytes());
        Self(format!("{:02x}{:02x}", hash[0], hash[1]))
    }
}

/// The version of UUIDs whose bits are ours to choose (RFC 9562). Those of earlier releases have 5.
const CUSTOM: usize = 8;

/// The incarnation of a run's name: the installation's ID, then a hash of installation, name and
/// creation time. It is recorded, so the names of a run's attempts never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Uid(pub Uuid);

impl Uid {
    /// Returns the UID of a run that is created at `created_at`.
    pub fn new(installation: &str, name: &RunName, created_at: Timestamp) -> Self {
        let text = format!("{installation}\n{name}\n{}", created_at.as_nanosecond());
        let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes());
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&Sha256::digest(installation.as_bytes())[..2]);
        bytes[2..].copy_from_slice(&hash.as_bytes()[..14]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Returns a UID with this short form, for a run whose record is lost.
    pub fn of_short(short: &Uid8) -> Self {
        let mut bytes = [0; 16];
        let known = hex::decode(&short.0).unwrap_or_default();
        bytes.iter_mut().zip(known).for_each(|(byte, known)| *byte = known);
        // Of an earlier release, the version tells the form.
        let builder = match short.installation() {
            Some(_) => uuid::Builder::from_custom_bytes(bytes),
            None => uuid::Builder::from_sha1_bytes(bytes),
        };
        Self(builder.into_uuid())
    }

    /// Returns the part of each attempt ID that stands for the incarnation.
    pub fn short(&self) -> Uid8 {
        let (first, second, ..) = self.0.as_fields();
        if self.0.get_version_num() == CUSTOM {
            Uid8(format!("{first:08x}{second:04x}"))
        } else {
            Uid8(format!("{first:08x}"))
        }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_id! {
    /// The short form of a [`Uid`]: the 4 hex digits of the installation's ID and 8 of the hash. Of
    /// a record of an earlier release: its first 8 hex digits, without the installation's.
    Uid8
}

impl Uid8 {
    /// Returns the ID of the installation that made it; `None`: it is of an earlier release.
    fn installation(&self) -> Option<&str> {
        self.0.get(..4).filter(|_| self.0.len() == 12)
    }
}

/// An attempt ID: one attempt of one incarnation of one run. It is the name of the runner and the
/// prefix of the client tokens. Written `tq-<run>-<installation><uid8>-<number>`, at most 50
/// characters; of a record of an earlier release `tq-<run>-<uid8>-<number>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptId {
    /// The run's name.
    pub run: RunName,
    /// The run's incarnation.
    pub uid: Uid8,
    /// The attempt's number.
    pub number: u32,
}

impl AttemptId {
    /// Returns the client token of a placement: two requests with it launch one machine.
    pub fn token(&self, placement: u32) -> String {
        format!("{self}-{placement}")
    }

    /// Returns whether it carries the ID of this installation.
    pub fn is_of(&self, installation: &InstallationId) -> bool {
        self.uid.installation() == Some(installation.0.as_str())
    }

    /// Returns whether it carries the ID of another installation. One of an earlier release carries
    /// none.
    pub fn is_of_another(&self, installation: &InstallationId) -> bool {
        self.uid.installation().is_some_and(|id| id != installation.0)
    }

    /// Returns the ID of the installation that it carries; `None`: it is of an earlier release.
    pub fn installation(&self) -> Option<InstallationId> {
        self.uid.installation().map(|id| InstallationId(id.to_owned()))
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tq-{}-{}-{}", self.run, self.uid, self.number)
    }
}

impl FromStr for AttemptId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let mut parts = text.strip_prefix("tq-")?.rsplitn(3, '-');
            let (number, uid, run) = (parts.next()?, parts.next()?, parts.next()?);
            if !is_number(number) || !matches!(uid.len(), 8 | 12) || !is_lower_hex(uid) {
                return None;
            }
            Some(AttemptId {
                run: run.parse().ok()?,
                uid: Uid8(uid.to_owned()),
                number: number.parse().ok()?,
            })
        };
        parse().ok_or_else(|| ParseError {
            text: text.chars().take(60).collect(),
            what: "attempt ID",
            form: "`tq-<run>-<12 hex digits>-<number>`",
        })
    }
}

impl TryFrom<String> for AttemptId {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<AttemptId> for String {
    fn from(attempt_id: AttemptId) -> Self {
        attempt_id.to_string()
    }
}

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for AttemptId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AttemptId".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^tq-(job-(0|[1-9][0-9]{0,18})|push-[0-9a-f]{16})-([0-9a-f]{4})?[0-9a-f]{8}-(0|[1-9][0-9]*)$",
            "description": "One attempt of one incarnation of one run."
        })
    }
}
