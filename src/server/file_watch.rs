//! Notices that files have changed, without reading them.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// The identity and the times of a file, without its content. A path of symbolic links has those of
/// the file at their end, so that one that is replaced by a rename is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stamp {
    /// Device, inode, size, times of the last write and of the last change, in nanoseconds.
    File { place: (u64, u64), size: u64, written: (i64, i64), changed: (i64, i64) },
    /// A pipe or a device, which can be read only once or never ends.
    Stream,
    /// The file cannot be examined.
    Missing(ErrorKind),
}

impl Stamp {
    fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(data) => {
                let kind = data.file_type();
                if kind.is_fifo() || kind.is_char_device() || kind.is_socket() {
                    return Self::Stream;
                }
                Self::File {
                    place: (data.dev(), data.ino()),
                    size: data.size(),
                    written: (data.mtime(), data.mtime_nsec()),
                    changed: (data.ctime(), data.ctime_nsec()),
                }
            }
            Err(error) => Self::Missing(error.kind()),
        }
    }
}

/// The reason for a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The next regular check. Files are read once two checks in a row found them the same, because
    /// their writer may not be done yet.
    Tick,
    /// The forge rejects the credential: a changed file is read at once.
    Rejected,
}

/// Files that belong together.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// As the last check found them.
    found: Option<Vec<Stamp>>,
    /// As they were when they were last read.
    read: Option<Vec<Stamp>>,
}

/// Files that have changed.
pub(super) struct Changed(Vec<Stamp>);

impl Seen {
    /// Returns what is to be noted as read, if one of the files has changed since they were read.
    pub(super) fn changed(&mut self, files: &[&Path], why: Why) -> Option<Changed> {
        let stamps: Vec<Stamp> = files.iter().map(|file| Stamp::of(file)).collect();
        let settled = self.found.as_ref() == Some(&stamps);
        self.found = Some(stamps.clone());
        let same = self.read.as_ref() == Some(&stamps);
        (!same && (why == Why::Rejected || settled)).then_some(Changed(stamps))
    }

    /// Whether they have been read before.
    pub(super) fn is_first(&self) -> bool {
        self.read.is_none()
    }

    /// Notes that they were read.
    pub(super) fn note(&mut self, changed: Changed) {
        self.read = Some(changed.0);
    }
}

impl Changed {
    /// Whether one of them is a pipe or a device: reading it waits for a writer, who may never come.
    pub(super) fn has_stream(&self) -> bool {
        self.0.contains(&Stamp::Stream)
    }
}
