//! Ends of the server of a host: by signals, or by itself.

use std::net::TcpStream;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::{Host, signal};

impl Host {
    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.server.take().expect("a server to kill");
        child.kill().expect("SIGKILL");
        child.wait().expect("the server's end");
        // A process that it had just forked holds its sockets and its store until it runs a program.
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.ports[1])).is_ok() {
            assert!(Instant::now() < end, "something of the killed server still listens");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends SIGTERM. The server must exit successfully within 20 s.
    pub async fn stop(&mut self) {
        let mut child = self.server.take().expect("a server to stop");
        signal(child.id(), rustix::process::Signal::TERM);
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = child.try_wait().expect("the server's status") {
                assert!(
                    status.success(),
                    "the server exited on SIGTERM with {status}\n{}",
                    self.tail()
                );
                return;
            }
            assert!(
                Instant::now() < end,
                "the server still runs 20 s after SIGTERM\n{}",
                self.tail()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the server has ended by itself, without success.
    pub async fn ended(&mut self, seconds: u64) {
        let mut child = self.server.take().expect("a server that ends");
        let end = Instant::now() + Duration::from_secs(seconds);
        while child.try_wait().expect("the server's status").is_none() {
            assert!(Instant::now() < end, "the server still runs\n{}", self.tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let failed = |status: ExitStatus| !status.success();
        assert!(child.try_wait().expect("its status").is_some_and(failed), "it failed");
    }
}
