//! The formats of records: which ones a release reads and writes.

/// The formats of records that a release reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFormats {
    /// The newest format that it reads. A record of a newer one is left alone.
    pub reads: u32,
    /// The newest format that it writes, once every live replica reads it.
    pub writes: u32,
}

impl RecordFormats {
    /// The format of records that name none.
    pub const FIRST: u32 = 1;
    /// The formats of this release. It reads what the next release writes.
    pub const OWN: Self = Self { reads: 2, writes: 1 };
}

pub(super) const fn first() -> u32 {
    RecordFormats::FIRST
}

/// Records of the first format do not name it, and keep the form of earlier releases.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn is_first(format: &u32) -> bool {
    *format == RecordFormats::FIRST
}
