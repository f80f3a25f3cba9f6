//! `backup`, `restore` and `rebuild`, with the real server over its file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tinqs_ci_test_host::free_port;

use crate::serve::{asked, configuration, start};
use crate::{Running, tinqs_in};

/// Starts a server in a folder.
fn serve(folder: &Path) -> Running {
    configuration(folder, free_port());
    Running(start(folder).spawn().expect("it runs"))
}

/// Returns a folder with a configuration and no store.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    configuration(folder.path(), free_port());
    folder
}

/// Writes a backup with one pause. Returns its folder, where the server has ended.
fn backed_up() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let running = serve(folder.path());
    assert_eq!(asked(folder.path(), &["pause"]).code, 0);
    let said = tinqs_in(folder.path(), &["backup", "backup.ndjson"], &[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out, "wrote 0 runs and 1 other item to backup.ndjson\n");
    let again = tinqs_in(folder.path(), &["backup", "backup.ndjson"], &[]);
    assert_eq!(again.code, 2, "{}", again.err);
    assert!(again.err.contains("the file backup.ndjson exists already"), "{}", again.err);
    drop(running);
    folder
}

#[test]
fn a_backup_is_restored_into_an_empty_store_only() {
    let from = backed_up();
    let file = from.path().join("backup.ndjson");
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "readable by its user only");
    let file = file.to_str().expect("text");
    let said = tinqs_in(from.path(), &["restore", file], &[]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("the store is not empty"), "{}", said.err);

    let to = folder();
    let said = tinqs_in(to.path(), &["restore", file], &[]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.starts_with("restored 0 runs and 1 other item of 20"), "{}", said.out);
    let running = serve(to.path());
    let resumed = asked(to.path(), &["resume"]);
    assert_eq!((resumed.code, resumed.out.as_str()), (0, "all classes resumed\n"));
    let said = tinqs_in(to.path(), &["restore", file], &[]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("is in use by another tinqs-ci process"), "{}", said.err);
    drop(running);
}

#[test]
fn a_file_that_is_no_whole_backup_is_refused_before_anything_is_written() {
    let from = backed_up();
    let whole = std::fs::read(from.path().join("backup.ndjson")).expect("the backup");
    let text = String::from_utf8(whole.clone()).expect("text");
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    let twice = {
        let lines: Vec<&str> = text.lines().collect();
        [lines[0], lines[1], lines[1], lines[2], ""].join("\n")
    };
    let cases: [(&[u8], &str); 5] = [
        (&whole[..whole.len() / 2], "it was cut after line"),
        (text.replacen("\"since\":\"20", "\"since\":\"19", 1).as_bytes(), "it was altered"),
        (newer.as_bytes(), "a newer tinqs-ci made it, with format 2"),
        (twice.as_bytes(), "line 3: the pause of every class is there twice"),
        (b"hello\n", "it is not a backup of tinqs-ci"),
    ];
    let to = folder();
    for (bytes, expected) in cases {
        std::fs::write(to.path().join("file"), bytes).expect("written");
        let said = tinqs_in(to.path(), &["restore", "file"], &[]);
        assert_eq!(said.code, 1, "{expected}: {}", said.err);
        assert!(said.err.contains(expected), "{expected}: {}", said.err);
        assert!(said.err.contains("nothing was written"), "{}", said.err);
        assert!(!to.path().join("data").exists(), "no store was made");
    }
    let said = tinqs_in(to.path(), &["restore", "missing"], &[]);
    assert!(said.code == 1 && said.err.contains("check the name of the file"), "{}", said.err);
    let other = [("TINQS_CI_INSTALLATION", "other")];
    std::fs::write(to.path().join("file"), &whole).expect("written");
    let said = tinqs_in(to.path(), &["restore", "file"], &other);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("the backup is of the installation `tinqs-ci`"), "{}", said.err);
    let memory = [("TINQS_CI_STORE", "memory:")];
    let said = tinqs_in(to.path(), &["restore", "file"], &memory);
    assert!(said.code == 2 && said.err.contains("keeps nothing"), "{}", said.err);
}

#[test]
fn a_rebuild_needs_the_forge() {
    let to = folder();
    for args in [&["rebuild"][..], &["rebuild", "--yes"]] {
        let said = tinqs_in(to.path(), args, &[("PATH", "/usr/bin:/bin")]);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{}", said.err);
        assert!(said.err.contains("error: "), "{}", said.err);
    }
}
