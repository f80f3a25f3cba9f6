//! The API at a socket of this host, for processes of certain users, without a token.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use axum::Router;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::listen::{ACCEPT_PAUSE, BOUNDS, connection};
use super::peer::Peer;
use super::progress::Progressing;
use super::shares::Place;
use crate::server::state::stopped;

/// The group whose members may use the socket.
const GROUP: &str = "tinqs-ci";
/// The maximum number of connections; more are closed.
const CONNECTIONS: usize = 64;

/// The socket; its file is removed when it is dropped.
pub struct ApiSocket {
    listener: UnixListener,
    admitted: Admitted,
    files: Vec<PathBuf>,
}

impl ApiSocket {
    /// Listens at this path. A file that a killed server left is replaced. `link` is a second place
    /// where commands look for it. `machines` is the user as whom jobs run on this host: it is never
    /// admitted.
    ///
    /// # Errors
    /// The path is too long, is in use, or cannot be written.
    pub fn bind(path: &Path, link: Option<&Path>, machines: Option<&str>) -> io::Result<Self> {
        clear(path)?;
        let listener = UnixListener::bind(path)?;
        let mut files = vec![path.to_owned()];
        let admitted = Admitted::by_files(machines);
        if let Some(group) = admitted.group {
            // Without that right only the own user and root can connect.
            let _ = std::os::unix::fs::chown(path, None, Some(group));
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        if let Some(link) = link.filter(|link| *link != path) {
            // A convenience: the path itself can be given, too.
            if clear(link).and_then(|()| symlink(std::path::absolute(path)?, link)).is_ok() {
                files.push(link.to_owned());
            }
        }
        Ok(Self { listener, admitted, files })
    }

    /// Serves until the server stops, then waits for requests in progress.
    pub async fn serve(self, router: Router, mut stopping: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = stopped(&mut stopping) => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept connection, will retry");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(uid) = self.admitted.uid(&stream) else {
                tracing::warn!("closed connection at the socket, its user is not admitted");
                continue;
            };
            if connections.len() < CONNECTIONS {
                let (router, stopping) = (router.clone(), stopping.clone());
                let stream = Progressing::new(stream, BOUNDS.write);
                let (peer, place) = (Peer::Unix { uid }, Place::default());
                connections.spawn(connection(BOUNDS, stream, peer, place, router, stopping));
            }
        }
        while connections.join_next().await.is_some() {}
    }
}

impl Drop for ApiSocket {
    fn drop(&mut self) {
        for file in &self.files {
            // What is left is replaced at the next start.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Removes the socket of a server that has ended, or a link to one.
fn clear(path: &Path) -> io::Result<()> {
    let Ok(data) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let kind = data.file_type();
    if !kind.is_socket() && !kind.is_symlink() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is not a socket"));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there"));
    }
    std::fs::remove_file(path)
}

/// The users who may use the socket: the server's own, root, and the members of the group, but not
/// the user of the machines.
#[derive(Debug, Default)]
struct Admitted {
    own: u32,
    machines: Option<u32>,
    group: Option<u32>,
    members: Vec<u32>,
}

impl Admitted {
    fn by_files(machines: Option<&str>) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let own = rustix::process::geteuid().as_raw();
        let users = read("/etc/passwd");
        let of_machines =
            |line: &&str| machines.is_some_and(|name| line.split(':').next() == Some(name));
        let machines = users.lines().find(of_machines);
        let machines = machines.and_then(|line| line.split(':').nth(2)?.parse().ok());
        Self { machines, ..Self::of(own, &read("/etc/group"), &users) }
    }

    /// Reads the group's members from the texts of `/etc/group` and `/etc/passwd`.
    fn of(own: u32, groups: &str, users: &str) -> Self {
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let group = groups.lines().map(fields).find(|line| line[0] == GROUP);
        let Some(group) = group else { return Self { own, ..Self::default() } };
        let names: Vec<&str> =
            group.get(3).map(|names| names.split(',').collect()).unwrap_or_default();
        let uid = |line: Vec<String>| line.get(2)?.parse().ok();
        let is_member = |line: &Vec<String>| names.contains(&line[0].as_str());
        let members = users.lines().map(fields).filter(is_member).filter_map(uid).collect();
        let group = group.get(2).and_then(|id| id.parse().ok());
        Self { own, group, members, ..Self::default() }
    }

    /// Returns the user at the other end, if admitted.
    fn uid(&self, stream: &UnixStream) -> Option<u32> {
        let peer = stream.peer_cred().ok()?;
        self.admits(peer.uid(), peer.gid()).then(|| peer.uid())
    }

    fn admits(&self, uid: u32, gid: u32) -> bool {
        let is_member = self.group == Some(gid) || self.members.contains(&uid);
        self.machines != Some(uid) && (uid == self.own || uid == 0 || is_member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_user_root_and_the_members_of_the_group_are_admitted() {
        let groups = "root:x:0:\nusers:x:100:eve\ntinqs-ci:x:990:ada,bob\n";
        let users = "root:x:0:0::/root:\nada:x:1001:100:::\nbob:x:1002:100:::\neve:x:1003:100:::\n";
        let admitted = Admitted::of(500, groups, users);
        for (uid, gid) in [(500, 500), (0, 0), (1001, 100), (1002, 100), (1003, 990)] {
            assert!(admitted.admits(uid, gid), "{uid}");
        }
        assert!(!admitted.admits(1003, 100));
        let jobs = Admitted { machines: Some(1001), ..Admitted::of(500, groups, users) };
        assert!(!jobs.admits(1001, 990) && jobs.admits(1002, 100), "jobs never are");
        let none = Admitted::of(500, "root:x:0:\n", users);
        assert!(none.admits(500, 1) && !none.admits(1001, 100));
    }

    #[tokio::test]
    async fn a_socket_that_is_left_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("api.sock"), folder.path().join("link"));
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let socket = ApiSocket::bind(&path, Some(&link), None).expect("the former one has ended");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert_eq!(std::fs::read_link(&link).expect("a link"), path);
        let second = ApiSocket::bind(&path, None, None).err().expect("in use");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists() && !link.exists(), "removed at the end");
        std::fs::write(&path, "a file").expect("written");
        assert!(ApiSocket::bind(&path, None, None).is_err(), "no other file is replaced");
    }
}
