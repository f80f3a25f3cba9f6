//! The machines of a host, from its directories and processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Host, signal};

impl Host {
    /// Returns the tokens of all machines that ever started, from their directories.
    pub fn machines_ever(&self) -> BTreeSet<String> {
        let begun = |name: &String| self.machine(name).join("started").exists();
        self.directories().into_iter().filter(begun).collect()
    }

    /// Returns the directories of machines, including those of interrupted launches.
    pub fn directories(&self) -> BTreeSet<String> {
        let machines = fs::read_dir(self.dir.path().join("machines"));
        let names = machines.into_iter().flatten().flatten();
        names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("tq-"))
            .collect()
    }

    /// Returns the entries of the directory of machines, two levels deep.
    pub fn left(&self) -> Vec<PathBuf> {
        let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        let machines = entries(&self.dir.path().join("machines")).map(|entry| entry.path());
        machines
            .flat_map(|dir| {
                let parts: Vec<_> = entries(&dir).map(|entry| entry.path()).collect();
                [dir].into_iter().chain(parts)
            })
            .collect()
    }

    /// Returns the directory of a machine.
    pub fn machine(&self, token: &str) -> PathBuf {
        self.dir.path().join("machines").join(token)
    }

    /// Returns the IDs of the processes of a machine, by its marker alone.
    pub fn marked(&self, token: &str) -> Vec<u32> {
        let marker = format!("TINQS_CI_MACHINE={token}");
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_marked = |pid: &u32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes())
        };
        pids.filter(is_marked).collect()
    }

    /// Returns the IDs of this host's machine processes, recognized by their marker and home.
    pub fn processes(&self) -> Vec<u32> {
        let home = format!("HOME={}", self.dir.path().join("machines").display());
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
                continue;
            };
            let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
            let texts: Vec<String> = environ
                .split(|b| *b == 0)
                .map(|v| String::from_utf8_lossy(v).into_owned())
                .collect();
            let marked = texts.iter().any(|v| v.starts_with("TINQS_CI_MACHINE="));
            if marked && texts.iter().any(|v| v.starts_with(&home)) {
                found.push(pid);
            }
        }
        found
    }

    /// Kills all processes of machines. One may start another while they are listed, and that would
    /// live on as the machine: they are listed until three lists in a row are empty.
    pub async fn kill_machines(&self) {
        let mut empty = 0;
        self.until("no process of a machine is left", 10, async |host| {
            let left = host.processes();
            empty = if left.is_empty() { empty + 1 } else { 0 };
            for pid in left {
                signal(pid, rustix::process::Signal::KILL);
            }
            empty == 3
        })
        .await;
    }
}
