//! Notices that the file of a credential has changed, and reads it again.

use tinqs_ci_reconciler::model::Secret;

use super::file_watch::{Seen, Why};
use crate::settings::SecretFile;

/// The file of a credential.
#[derive(Debug)]
pub(super) struct WatchedFile {
    pub(super) file: SecretFile,
    seen: Seen,
}

impl WatchedFile {
    pub(super) fn new(file: SecretFile) -> Self {
        Self { file, seen: Seen::default() }
    }

    /// Returns the credential if the file has changed since it was last read, or why it cannot be
    /// read; each only once.
    pub(super) fn check(&mut self, why: Why) -> Option<Result<Secret, String>> {
        let changed = self.seen.changed(&[&self.file.path], why)?;
        if changed.has_stream() {
            let first = self.seen.is_first();
            self.seen.note(changed);
            let path = self.file.path.display();
            return (!first).then(|| Err(format!("`{path}` is no longer a file")));
        }
        let read = self.file.read();
        // What is unreadable just now is reported by a later tick.
        if why == Why::Rejected && read.is_err() {
            return None;
        }
        self.seen.note(changed);
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A folder with the file `token`.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(content: &str) -> (Self, WatchedFile) {
            let folder = Self(tempfile::tempdir().expect("a folder"));
            folder.write("token", content);
            let path = folder.path("token");
            let mut watched = WatchedFile::new(SecretFile { key: "forge.token".to_owned(), path });
            assert_eq!(settled(&mut watched), Some(Ok(content.trim_end().to_owned())));
            (folder, watched)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, content: impl AsRef<[u8]>) {
            std::fs::write(self.path(name), content).expect("written");
        }

        fn rename(&self, from: &str, to: &str) {
            std::fs::rename(self.path(from), self.path(to)).expect("renamed");
        }
    }

    fn told(found: Option<Result<Secret, String>>) -> Option<Result<String, String>> {
        found.map(|read| read.map(|secret| secret.expose().to_owned()))
    }

    /// The result of two ticks; the first one never reads.
    fn settled(watched: &mut WatchedFile) -> Option<Result<String, String>> {
        assert_eq!(told(watched.check(Why::Tick)), None, "a changed file is not read at once");
        told(watched.check(Why::Tick))
    }

    #[track_caller]
    fn fails(watched: &mut WatchedFile, cause: &str) {
        let error = settled(watched).expect("reported").expect_err("not readable");
        assert!(error.contains("token") && error.contains(cause), "{error}");
        assert_eq!(told(watched.check(Why::Tick)), None, "reported once");
    }

    #[test]
    fn an_unchanged_file_is_read_once() {
        let (_folder, mut watched) = Folder::new("first\n");
        for _ in 0..3 {
            assert_eq!(told(watched.check(Why::Tick)), None);
            assert_eq!(told(watched.check(Why::Rejected)), None);
        }
    }

    #[test]
    fn a_changed_file_is_read_by_the_second_tick_or_at_once_if_the_forge_rejects_it() {
        let (folder, mut watched) = Folder::new("first\n");
        folder.write("token", "second");
        assert_eq!(settled(&mut watched), Some(Ok("second".to_owned())), "without newline");
        folder.write("token", "third\r\n\r\n");
        assert_eq!(told(watched.check(Why::Rejected)), Some(Ok("third".to_owned())), "CRLF");
        assert_eq!(told(watched.check(Why::Tick)), None);
        folder.write("token", "x".repeat(65_536));
        assert_eq!(settled(&mut watched).expect("read").expect("readable").len(), 65_536);
    }

    #[test]
    fn a_file_replaced_by_a_rename_is_read() {
        let (folder, mut watched) = Folder::new("first\n");
        folder.write("new", "secnd\n");
        folder.rename("new", "token");
        assert_eq!(settled(&mut watched), Some(Ok("secnd".to_owned())));
    }

    /// As Kubernetes does it: `token` → `..data/token`, `..data` → a folder for each version.
    #[test]
    fn a_symbolic_link_replaced_on_the_way_is_noticed() {
        use std::os::unix::fs::symlink;
        let folder = Folder(tempfile::tempdir().expect("a folder"));
        for (version, content) in [("v1", "first"), ("v2", "secnd")] {
            std::fs::create_dir(folder.path(version)).expect("a folder");
            folder.write(&format!("{version}/token"), content);
        }
        symlink("v1", folder.path("..data")).expect("a link");
        symlink("..data/token", folder.path("token")).expect("a link");
        let path = folder.path("token");
        let mut watched = WatchedFile::new(SecretFile { key: "forge.token".to_owned(), path });
        assert_eq!(settled(&mut watched), Some(Ok("first".to_owned())));
        symlink("v2", folder.path("..data_tmp")).expect("a link");
        folder.rename("..data_tmp", "..data");
        assert_eq!(settled(&mut watched), Some(Ok("secnd".to_owned())));
    }

    #[test]
    fn an_emptied_huge_or_missing_file_is_reported_once_and_read_when_it_is_back() {
        let (folder, mut watched) = Folder::new("first\n");
        folder.write("token", "");
        fails(&mut watched, "is empty");
        folder.write("token", "\r\n");
        fails(&mut watched, "is empty");
        folder.write("token", "x".repeat(1_000_000));
        fails(&mut watched, "larger than 65536 bytes");
        folder.write("token", "a\nb\n");
        fails(&mut watched, "control character");
        folder.write("token", [0xff, 0xfe]);
        fails(&mut watched, "cannot read");
        std::fs::remove_file(folder.path("token")).expect("removed");
        fails(&mut watched, "cannot read");
        std::fs::create_dir(folder.path("token")).expect("a folder");
        fails(&mut watched, "it is a directory");
        std::fs::remove_dir(folder.path("token")).expect("removed");
        folder.write("token", "back");
        assert_eq!(settled(&mut watched), Some(Ok("back".to_owned())));
    }

    #[test]
    fn a_file_that_is_unreadable_when_the_forge_rejects_the_token_is_reported_by_a_tick() {
        let (folder, mut watched) = Folder::new("first\n");
        folder.write("token", "");
        assert_eq!(told(watched.check(Why::Rejected)), None);
        let error = told(watched.check(Why::Tick)).expect("reported").expect_err("empty");
        assert!(error.contains("is empty"), "{error}");
    }

    #[test]
    fn a_pipe_is_never_read_again() {
        let folder = Folder(tempfile::tempdir().expect("a folder"));
        let path = folder.path("token");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
        assert!(made.success());
        let mut watched = WatchedFile::new(SecretFile { key: "forge.token".to_owned(), path });
        assert_eq!(settled(&mut watched), None, "the start has read it");
        std::fs::remove_file(folder.path("token")).expect("removed");
        folder.write("token", "a file now");
        assert_eq!(settled(&mut watched), Some(Ok("a file now".to_owned())));
    }
}
