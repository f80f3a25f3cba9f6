//! Commands that read the host's configuration, as an operator runs them beside the server.

use std::process::{Command, Output, Stdio};

use crate::{Host, OWN_TOKEN, SECRET, TOKEN};

impl Host {
    /// Runs a command of the program with the configuration and the credentials of the server.
    ///
    /// # Panics
    /// If it does not start.
    pub fn run_configured(&self, arguments: &[&str]) -> Output {
        Command::new(&self.program)
            .args(arguments)
            .arg("--config")
            .arg(self.dir.path().join("tinqs-ci.toml"))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.dir.path().join("bin").display()))
            .env("HOME", self.dir.path())
            .env("FORGE_TOKEN", TOKEN)
            .env("HOOK_SECRET", SECRET)
            .env("OWN_TOKEN", OWN_TOKEN)
            .stdin(Stdio::null())
            .output()
            .expect("the command starts")
    }
}
