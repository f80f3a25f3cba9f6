//! The user as whom machines run, if it is another one than the server's.
//!
//! The server stays its own user and needs three capabilities: to change the user and the group of a
//! process that it starts (`CAP_SETUID`, `CAP_SETGID`), and to signal it later (`CAP_KILL`). Files of
//! the other user are made, read and deleted by threads that have its identity at the file system
//! only (`setfsuid(2)`), so that a job can neither signal nor trace them.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::HostError;

/// The capabilities that the server needs to run machines as another user.
const NEEDED: [(CapabilitySet, &str); 3] = [
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::KILL, "CAP_KILL"),
];

/// A user, and the directory where its machines work.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) workspace: PathBuf,
}

/// As whom machines run: `None` is the server's own user.
#[derive(Clone, Debug, Default)]
pub(super) struct Account(pub(super) Option<Arc<User>>);

impl Account {
    /// Finds the user, checks that the server may act for it, and makes its directory: `directory`,
    /// or `machines` in its home.
    pub(super) fn named(name: &str, directory: Option<PathBuf>) -> Result<Self, HostError> {
        let wrong = |why: String| HostError::User { name: name.to_owned(), why };
        let found = look_up(name)?;
        if found.uid == Uid::effective() {
            return Err(wrong("is the user of this server: a job could then end it".to_owned()));
        }
        let held = capabilities(None).map_err(|error| wrong(format!("needs Linux: {error}")))?;
        let lacks = NEEDED.iter().filter(|(one, _)| !held.effective.contains(*one));
        let lacks: Vec<&str> = lacks.map(|(_, name)| *name).collect();
        if !lacks.is_empty() {
            return Err(HostError::Rights { name: name.to_owned(), lacks: lacks.join(", ") });
        }
        let workspace = directory.unwrap_or_else(|| found.dir.join("machines"));
        let user = User { uid: found.uid.as_raw(), gid: found.gid.as_raw(), workspace };
        let dir = user.workspace.clone();
        let account = Self(Some(Arc::new(user)));
        let made = account.files(|| make(&dir));
        made.and_then(|made| made).map_err(|source| HostError::Workspace {
            name: name.to_owned(),
            dir,
            source,
        })?;
        Ok(account)
    }

    /// Does work whose files are those of the machines' user. Signals are sent as the server.
    ///
    /// # Errors
    /// The thread cannot be started, or may not get that identity: then nothing was done.
    pub(super) fn files<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let Some(user) = &self.0 else { return Ok(work()) };
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        on_a_thread(move || {
            setfsgid(gid);
            setfsuid(uid);
            // Neither call reports a failure; each returns the former identity.
            if setfsgid(gid) != gid || setfsuid(uid) != uid {
                return Err(io::Error::from(io::ErrorKind::PermissionDenied));
            }
            Ok(work())
        })?
    }

    /// Starts a program as the machines' user, without any capability and with its own group only.
    pub(super) fn spawn(
        &self,
        mut command: tokio::process::Command,
    ) -> io::Result<tokio::process::Child> {
        let runtime = tokio::runtime::Handle::current();
        let user = self.0.clone();
        on_a_thread(move || {
            // What the unit of the server grants must not pass to a job. This empties the ambient
            // set, too.
            let inheritable = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { inheritable, ..capabilities(None)? })?;
            if let Some(user) = user {
                // One of these groups may admit to the server's files or its socket.
                rustix::thread::set_thread_groups(&[])?;
                command.uid(user.uid).gid(user.gid);
            }
            let _context = runtime.enter();
            command.spawn()
        })?
    }
}

/// Checks that machines could run as this user, as far as another process than the server can tell.
///
/// # Errors
/// [`HostError::User`].
pub fn is_usable(name: &str) -> Result<(), HostError> {
    look_up(name).map(|_| ())
}

fn look_up(name: &str) -> Result<nix::unistd::User, HostError> {
    let wrong = |why: String| HostError::User { name: name.to_owned(), why };
    let found = nix::unistd::User::from_name(name)
        .map_err(|error| wrong(format!("cannot be looked up: {error}")))?
        .ok_or_else(|| wrong("does not exist on this host".to_owned()))?;
    if found.uid.is_root() {
        return Err(wrong("is root, as whom no job may run".to_owned()));
    }
    Ok(found)
}

/// Makes the directory of the machines' user, by a thread of that user, and closes it to others.
fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Fails if it belongs to another user.
    std::fs::set_permissions(dir, Permissions::from_mode(0o700))
}

/// Runs work on a thread that ends with it: what it changes about itself concerns nothing else.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("machines-user".to_owned());
        let thread = thread.spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("the thread panicked"))
    })
}
