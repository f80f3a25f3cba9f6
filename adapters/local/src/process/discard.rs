//! Deletes what ended machines leave.

use std::fs::Permissions;
use std::io::ErrorKind as Io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::user::Account;

/// Prefix of directories that are being deleted.
pub(super) const DISCARDED: &str = ".discarded-";

/// Deletes what was set aside. May take long: a job may leave gigabytes.
pub(super) fn sweep_discarded(dir: &Path, account: &Account) {
    sweep(dir);
    if let Some(user) = &account.0
        && let Err(error) = account.files(|| sweep(&user.workspace))
    {
        tracing::warn!(%error, "cannot delete leftovers of the machines' user, will retry");
    }
}

fn sweep(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(DISCARDED)) {
            discard(&entry.path());
        }
    }
}

/// Renames a directory, which is instant and atomic; [`sweep_discarded`] deletes it, which may take
/// long.
pub(super) fn set_aside(path: &Path, discarded: &Path) {
    match std::fs::rename(path, discarded) {
        Err(error) if error.kind() != Io::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot set aside leftovers");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Deletes a tree, including directories that jobs made read-only. Links are deleted, never
/// followed: a job may have replaced its home by one.
fn discard(path: &Path) {
    let is_dir = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let removed = if is_dir {
        std::fs::remove_dir_all(path).or_else(|_| {
            open_up(path);
            std::fs::remove_dir_all(path)
        })
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != Io::NotFound => {
            tracing::warn!(
                path = %path.display(),
                %error,
                hint = "delete it by hand",
                "cannot delete leftovers"
            );
        }
        Ok(()) | Err(_) => {}
    }
}

fn open_up(dir: &Path) {
    let _ = std::fs::set_permissions(dir, Permissions::from_mode(0o700));
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        // Of the entry itself, not of a link's target.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_trees_are_removed_and_links_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("kept"));
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("file"), "x").unwrap();
        std::fs::write(tree.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&kept, tree.join("a/link")).unwrap();
        std::fs::set_permissions(tree.join("a/b"), Permissions::from_mode(0o500)).unwrap();
        std::fs::set_permissions(tree.join("a"), Permissions::from_mode(0o500)).unwrap();
        discard(&tree);
        assert!(!tree.exists());
        std::fs::set_permissions(&kept, Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&kept, &tree).unwrap();
        discard(&tree);
        assert!(tree.symlink_metadata().is_err(), "the link itself is gone");
        assert!(kept.join("file").exists());
        assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }
}
