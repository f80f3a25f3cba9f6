//! `backup`: writes everything that the server's store keeps to a file.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Write as _};
use std::path::Path;

use tinqs_ci_reconciler::text::{chain, cut, escape};

use super::args::Backup;
use super::failure::{Failure, out, warn};
use super::remote::client;
use crate::api::backup::{BackupReader, Flaw};
use crate::settings::Env;

/// Writes a backup under another name first, readable by its user only. It gets its name once it
/// was read back, whole and unaltered.
pub(super) async fn backup(args: Backup, env: &Env) -> Result<(), Failure> {
    let Backup { file, secrets, server } = args;
    let shown = shown(&file);
    if file.exists() {
        return Err(exists(&shown));
    }
    let failed = |error: &io::Error| {
        Failure::failed(format!("cannot write the backup {shown}: {error}"))
            .hint("check the folder's permissions and the disk's space")
    };
    let folder = file.parent().filter(|path| !path.as_os_str().is_empty());
    let client = client(&server, env)?;
    let mut download = client.backup(secrets).await?;
    let written = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
    let mut written = written.map_err(|error| failed(&error))?;
    while let Some(bytes) = download.next().await? {
        written.write_all(&bytes).map_err(|error| failed(&error))?;
    }
    written.as_file().sync_all().map_err(|error| failed(&error))?;
    let counts = counted(written.path()).map_err(|flaw| {
        Failure::failed(format!("the server's answer is no backup: {}", chain(&flaw)))
            .hint("make it again; if it breaks off again, see the server's log")
    })?;
    match written.persist_noclobber(&file) {
        Ok(_) => {}
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => return Err(exists(&shown)),
        Err(error) => return Err(failed(&error.error)),
    }
    if counts.unreadable > 0 {
        let many = counts.unreadable;
        warn(&format!("{many} items of the store cannot be read, and are not in it: see the log"));
    }
    out(&format!("wrote {counts} to {shown}\n"))
}

/// The counts of a backup: its runs, all its items, and the unreadable items of the store.
pub(super) struct Counts {
    runs: u64,
    items: u64,
    unreadable: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        let (runs, others) = (self.runs, self.items.saturating_sub(self.runs));
        write!(f, "{runs} run{} and {others} other item{}", plural(runs), plural(others))
    }
}

/// Reads all of a backup.
pub(super) fn counted(file: &Path) -> Result<Counts, Flaw> {
    use tinqs_ci_reconciler::ports::StoreItem;

    let mut reader = BackupReader::open(BufReader::new(File::open(file)?))?;
    let mut runs = 0;
    while let Some(item) = reader.next_item()? {
        runs += u64::from(matches!(item, StoreItem::Run(_)));
    }
    Ok(Counts { runs, items: reader.items(), unreadable: reader.unreadable() })
}

/// Returns the name of a file as it is shown.
pub(super) fn shown(file: &Path) -> String {
    cut(&escape(&file.to_string_lossy()), 200)
}

fn exists(shown: &str) -> Failure {
    Failure::usage(format!("the file {shown} exists already"))
        .hint("name a file that does not exist; a backup replaces none")
}
