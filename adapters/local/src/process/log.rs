//! The log of a machine: what its boot script and its runner print.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind as Io, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;
use rustix::io::Errno;
use tinqs_ci_reconciler::ports::MachineLog;

use super::directory::{LOG, Place};

/// Opens the log for a machine to write.
pub(super) fn open(place: &Place) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(place.dir.join(LOG))
}

/// Reads the end of the log, whatever its size is. `None` if there is none: a job may have replaced
/// the file by a link or a pipe, which is not followed and not waited for.
pub(super) fn end(place: &Place, most: usize) -> io::Result<Option<MachineLog>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let path = place.dir.join(LOG);
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == Io::NotFound => return Ok(None),
        // It is a link.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    if !found.is_file() || found.len() == 0 {
        return Ok(None);
    }
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let from = found.len().saturating_sub(most);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(MachineLog { bytes, cut: from > 0 }))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn place(dir: &std::path::Path) -> Place {
        let place =
            Place::of_token(dir, &super::super::user::Account::default(), "tq-job-7-0a1b2c3d-1-0");
        let place = place.expect("a token");
        std::fs::create_dir(&place.dir).expect("made");
        place
    }

    fn read(place: &Place, most: usize) -> Option<(String, bool)> {
        let log = end(place, most).expect("readable")?;
        Some((String::from_utf8(log.bytes).expect("UTF-8"), log.cut))
    }

    #[test]
    fn the_end_of_a_log_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = place(dir.path());
        assert_eq!(read(&place, 8), None, "it was not started");
        let mut log = open(&place).expect("writable");
        assert_eq!(read(&place, 8), None, "it has printed nothing");
        log.write_all(b"12345678").expect("written");
        assert_eq!(read(&place, 8), Some(("12345678".to_owned(), false)));
        assert_eq!(read(&place, 3), Some(("678".to_owned(), true)));
        assert_eq!(read(&place, 0), Some((String::new(), true)));
        std::fs::remove_dir_all(&place.dir).expect("removed");
        assert_eq!(read(&place, 8), None, "its directory is gone");
    }

    #[test]
    fn a_huge_log_is_read_at_its_end_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = place(dir.path());
        let mut log = open(&place).expect("writable");
        // Sparse: takes no space.
        log.set_len(1 << 40).expect("sized");
        log.write_all(b"the end").expect("written");
        assert_eq!(read(&place, 7), Some(("the end".to_owned(), true)));
    }

    #[test]
    fn links_and_pipes_are_no_logs() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = place(dir.path());
        let other = dir.path().join("other");
        std::fs::write(&other, "of somebody else").expect("written");
        std::os::unix::fs::symlink(&other, place.dir.join(LOG)).expect("linked");
        assert_eq!(read(&place, 8), None);
        std::fs::remove_file(place.dir.join(LOG)).expect("removed");
        std::fs::create_dir(place.dir.join(LOG)).expect("made");
        assert_eq!(read(&place, 8), None);
        std::fs::remove_dir(place.dir.join(LOG)).expect("removed");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, place.dir.join(LOG), mode).expect("made");
        assert_eq!(read(&place, 8), None);
    }
}
