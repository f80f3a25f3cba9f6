//! Conversion between a run and an item of the table.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use sha2::Digest as _;
use tinqs_ci_reconciler::model::{DecodeError, Outcome, Phase, Run, RunName, Uid, decode, encode};

use super::deflate::{deflated, inflated};

/// Attributes by name.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The partition key: a run's name, or `seats#<class>`, `seats-page#<page>#<class>`, `pauses`,
/// `lease#<what>`, `inbox#<key>`, `usage#<day>#<key>`, `reruns#<key>`.
pub(super) const KEY: &str = "run_id";
/// For people: the repository.
pub(super) const REPO: &str = "repo";
/// For people: the progress.
pub(super) const STATUS: &str = "status";
/// For people: the machine of the attempt.
pub(super) const INSTANCE: &str = "instance_id";
/// Guards every write.
pub(super) const UID: &str = "uid";
/// Guards every write.
pub(super) const VERSION: &str = "version";
/// Mark of the write, unique per writer: a retry recognizes its own first try by it.
pub(super) const WRITER: &str = "writer";
/// Microseconds of Unix time: the sort key of both indexes.
pub(super) const CREATED: &str = "created";
/// Partition key of the index of open runs: only items that have it are in the index.
pub(super) const OPEN: &str = "open";
/// Partition key of the index by creation: [`RUN`], [`INBOX`] or [`USAGE`].
pub(super) const KIND: &str = "kind";
/// Seconds of Unix time after which the table may delete the item.
pub(super) const TTL: &str = "ttl";
/// The record: JSON as text, or deflated as bytes if the item would be too long.
pub(super) const BODY: &str = "body";

/// A run.
pub(super) const RUN: &str = "run";
/// The usage of a day and a key.
pub(super) const USAGE: &str = "usage";
/// A delivery to evaluate.
pub(super) const INBOX: &str = "inbox";
/// The one value of [`OPEN`].
pub(super) const IS_OPEN: &str = "1";

/// Bytes of one write unit: longer items are compressed.
pub(super) const UNIT: usize = 1024;
/// Limit of a decompressed body. No item is longer than 400 KB, so a longer body is not ours.
const MOST_INFLATED: usize = 16 << 20;
/// Longest name in a key; a longer one is replaced by its hash.
const LONGEST_KEY: usize = 512;

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl ToString + Copy) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

/// Builds a key of `prefix` and a text of any length and content.
pub(super) fn key(prefix: &str, of: &str) -> String {
    if of.len() <= LONGEST_KEY {
        return format!("{prefix}#{of}");
    }
    format!("{prefix}#{}", hashed(of))
}

/// Replaces a text that cannot be a name by its hash.
pub(super) fn hashed(text: &str) -> String {
    format!("#{}", hex::encode(sha2::Sha256::digest(text)))
}

/// The item of a run at a version.
pub(super) fn of(run: &Run, version: u64, writer: &[u8]) -> Item {
    let run = Run { version, ..run.clone() };
    let mut item = Item::from([
        (KEY.to_owned(), text(run.name.as_str())),
        (REPO.to_owned(), text(&*run.spec.job.repo)),
        (STATUS.to_owned(), text(status(&run))),
        (UID.to_owned(), bytes(run.uid.0.as_bytes())),
        (VERSION.to_owned(), number(version)),
        (WRITER.to_owned(), bytes(writer)),
        (CREATED.to_owned(), number(run.created_at.as_microsecond())),
        (KIND.to_owned(), text(RUN)),
    ]);
    if let Some(attempt) = &run.status.attempt
        && let Some(answer) = attempt.placements.iter().rev().find_map(|p| p.answered.as_ref())
    {
        item.insert(INSTANCE.to_owned(), text(&*answer.id.0));
    }
    if run.is_open() {
        item.insert(OPEN.to_owned(), text(IS_OPEN));
    } else {
        // Rounded up to a whole second: never too early.
        let due = run.status.due.as_millisecond().saturating_add(999).div_euclid(1000);
        item.insert(TTL.to_owned(), number(due));
    }
    let body = packed(encode(&run), UNIT.saturating_sub(size(&item)));
    item.insert(BODY.to_owned(), body);
    item
}

/// Stores a document as text if it fits beside the other attributes, else deflated.
pub(super) fn packed(document: Vec<u8>, room: usize) -> AttributeValue {
    if BODY.len() + document.len() > room {
        let zipped = deflated(&document);
        if zipped.len() < document.len() {
            return AttributeValue::B(Blob::new(zipped));
        }
    }
    match String::from_utf8(document) {
        Ok(text) => AttributeValue::S(text),
        Err(other) => AttributeValue::B(Blob::new(deflated(other.as_bytes()))),
    }
}

/// Returns the document. The error is a sentence that shows nothing of it.
pub(super) fn unpacked(item: &Item) -> Result<Vec<u8>, String> {
    match item.get(BODY) {
        Some(AttributeValue::S(text)) => Ok(text.clone().into_bytes()),
        Some(AttributeValue::B(zipped)) => inflated(zipped.as_ref(), MOST_INFLATED)
            .map_err(|status| format!("cannot inflate its body: {status:?}")),
        Some(_) => Err("its body is neither text nor binary".to_owned()),
        None => Err("it has no body".to_owned()),
    }
}

/// The reason why an item cannot be read, without any content.
pub(super) struct Unreadable {
    /// A sentence.
    pub(super) reason: String,
    /// The format of the record, if it is newer than this release reads.
    pub(super) newer: Option<u32>,
}

impl From<String> for Unreadable {
    fn from(reason: String) -> Self {
        Self { reason, newer: None }
    }
}

impl From<&str> for Unreadable {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

impl From<DecodeError> for Unreadable {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Newer { format } => {
                Self { reason: error.to_string(), newer: Some(format) }
            }
            DecodeError::Malformed(error) => shapeless(&error).into(),
        }
    }
}

/// Parses the run in an item.
pub(super) fn run_of(item: &Item) -> Result<Run, Unreadable> {
    let name = name_of(item).ok_or("its name is not a run's name")?;
    let version = version_of(item).ok_or("it has no version")?;
    let uid = uid_of(item).ok_or("it has no uid")?;
    let run = decode(&unpacked(item)?)?;
    if run.name != name || run.uid != uid {
        return Err(format!("its body belongs to {} {}", run.name, run.uid).into());
    }
    Ok(Run { version, ..run })
}

/// Describes a JSON error without any content.
pub(super) fn shapeless(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("its body is not the expected JSON ({:?}, {line}:{column})", error.classify())
}

pub(super) fn name_of(item: &Item) -> Option<RunName> {
    item.get(KEY)?.as_s().ok()?.parse().ok()
}

pub(super) fn uid_of(item: &Item) -> Option<Uid> {
    let bytes = item.get(UID)?.as_b().ok()?;
    uuid::Uuid::from_slice(bytes.as_ref()).ok().map(Uid)
}

pub(super) fn version_of(item: &Item) -> Option<u64> {
    number_of(item, VERSION)
}

pub(super) fn number_of<N: std::str::FromStr>(item: &Item, name: &str) -> Option<N> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// The predecessor's status words, for people who read the table.
fn status(run: &Run) -> &'static str {
    match (run.status.phase, run.status.outcome) {
        (Phase::Waiting | Phase::Starting, _) => "pending",
        (Phase::Running, _) => "running",
        (Phase::Finished, Some(Outcome::Succeeded)) => "completed",
        (
            Phase::Finished,
            Some(Outcome::Failed | Outcome::MachineEnded | Outcome::MachineLost | Outcome::MaxAge),
        ) => "failed",
        (Phase::Finished, Some(Outcome::GaveUp)) => "timeout",
        (Phase::Finished, Some(Outcome::Cancelled)) => "cancelled",
        (Phase::Finished, Some(Outcome::Skipped)) => "skipped",
        (Phase::Finished, Some(Outcome::JobGone) | None) => "gone",
    }
}

/// Size of an item as the table counts it.
pub(super) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        // Two digits per byte, plus one byte, plus one for the sign.
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 2,
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::M(map) => {
            3 + map.iter().map(|(name, value)| 1 + name.len() + value_size(value)).sum::<usize>()
        }
        AttributeValue::L(list) => {
            3 + list.iter().map(|value| 1 + value_size(value)).sum::<usize>()
        }
        AttributeValue::Ss(texts) | AttributeValue::Ns(texts) => {
            texts.iter().map(String::len).sum()
        }
        AttributeValue::Bs(blobs) => blobs.iter().map(|blob| blob.as_ref().len()).sum(),
        _ => 1,
    }
}

/// Describes the attributes for people who read the table.
pub(super) fn described() -> serde_json::Value {
    let attributes = |rows: &[(&str, &str, &str)]| {
        let rows = rows.iter().map(|(name, kind, meaning)| {
            ((*name).to_owned(), serde_json::json!({"type": kind, "meaning": meaning}))
        });
        serde_json::Value::Object(rows.collect())
    };
    serde_json::json!({
        "job-<id>, push-<hash>": attributes(&[
            (KEY, "S", "the run's name"),
            (REPO, "S", "owner/name, for people"),
            (STATUS, "S", "pending, running, completed, failed, timeout, cancelled, skipped, gone; for people"),
            (INSTANCE, "S", "the machine of its attempt, once launched; for people"),
            (UID, "B", "the incarnation of the name; guards every write"),
            (VERSION, "N", "counts the writes of this incarnation; guards every write"),
            (WRITER, "B", "mark of the write: a retry recognizes its own first try by it"),
            (CREATED, "N", "microseconds of Unix time"),
            (KIND, "S", "`run`: the partition in the index `created`"),
            (OPEN, "S", "`1` until the run is finished: the partition in the index `open`"),
            (TTL, "N", "seconds of Unix time; of finished runs"),
            (BODY, "S or B", "the run (schemas/run.json) with credentials: JSON, or deflated (RFC 1951)"),
        ]),
        "seats#<class>": attributes(&[
            (KEY, "S", "the class; the hash of a long name"),
            (VERSION, "N", "counts the seats that were taken; guards every one"),
            ("pages", "N", "pages that may hold seats"),
            ("attempt", "S", "attempt ID of the last seat"),
            (REPO, "S", "repository of the last seat, with `#` and its ID"),
            ("page", "N", "page of the last seat"),
            ("earlier", "M", "attempt ID to repository: seats that an earlier release gave"),
            ("seats, repos, owners", "M", "only before this release gave the first seat"),
        ]),
        "seats-page#<page>#<class>": attributes(&[
            (KEY, "S", "the number of the page and the class; the hash of long ones"),
            (VERSION, "N", "of the last seat that was written into the page"),
            ("<attempt ID>", "S", "the repository, with `#` and its ID: a seat"),
        ]),
        "pauses": attributes(&[
            (KEY, "S", "`pauses`"),
            ("all", "S", "the pause of every class, as JSON"),
            ("class#<class>", "S", "the pause of a class, as JSON"),
        ]),
        "lease#<what>": attributes(&[
            (KEY, "S", "the subject of the lease"),
            ("holder", "S", "the holder of the lease"),
            ("until", "N", "milliseconds of Unix time"),
            (TTL, "N", "seconds of Unix time"),
        ]),
        "lease#formats": attributes(&[
            (KEY, "S", "`lease#formats`"),
            ("replica#<replica>", "S", "the newest format that a replica reads, and until when it counts as live; as JSON"),
            (TTL, "N", "seconds of Unix time"),
        ]),
        "usage#<day>#<key>": attributes(&[
            (KEY, "S", "the day in UTC; class, repository and workflow, or the hash of long names"),
            (KIND, "S", "`usage`: the partition in the index `created`"),
            (CREATED, "N", "microseconds of Unix time: the begin of the day"),
            ("of", "S", "the day and the names: JSON"),
            ("jobs", "N", "jobs that ran on a machine and are over"),
            ("boot, idle, busy, lost", "N", "seconds of machines by their use"),
            ("cost", "N", "millionths of a US dollar"),
            ("unpriced", "N", "seconds whose price was not known"),
            ("unknown_end", "N", "the most seconds more of machines whose end nobody saw"),
            (TTL, "N", "seconds of Unix time; 13 months after the day"),
        ]),
        "reruns#<key>": attributes(&[
            (KEY, "S", "repository ID, workflow run ID, and the hash of the job's full name"),
            (VERSION, "N", "counts the writes; guards every one"),
            (BODY, "S", "the requests to run the job again: JSON"),
            (TTL, "N", "seconds of Unix time; 90 days after the last request"),
            (WRITER, "B", "mark of the write, as of a run"),
        ]),
        "inbox#<key>": attributes(&[
            (KEY, "S", "the time a delivery was received, and its hash"),
            (KIND, "S", "`inbox`: the partition in the index `created`"),
            (CREATED, "N", "microseconds of Unix time"),
            (BODY, "S or B", "the delivery: JSON, or deflated (RFC 1951)"),
        ]),
    })
}
