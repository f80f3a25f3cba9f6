//! `restore`: puts a backup into an empty store, of either kind.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::plan::skip_numbers;
use tinqs_ci_reconciler::ports::{PortError, RunStore, StoreItem};
use tinqs_ci_reconciler::text::{chain, cut};

use super::args::Restore;
use super::backup::{counted, shown};
use super::failure::{Failure, note, out, warn};
use crate::api::backup::{BackupHeader, BackupReader, Flaw};
use crate::backends::{BackendError, Start, Stores, stores};
use crate::server::replica;
use crate::settings::{self, Env, Loaded, Settings, StoreUrl};

/// Items that are written together.
const PART: usize = 100;
/// The time after a renewal for which servers of the same table leave it alone.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
const RENEWED_AFTER: Duration = Duration::from_secs(15);

/// Checks the whole file before anything is written.
pub(super) async fn restore(args: Restore, env: &Env) -> Result<(), Failure> {
    let Restore { file, config } = args;
    let shown = shown(&file);
    let refused = |flaw: &Flaw| {
        Failure::failed(format!("cannot restore {shown}: {}", chain(flaw))).hint(remedy(flaw))
    };
    let counts = counted(&file).map_err(|flaw| refused(&flaw))?;
    let settings = durable(config.config.as_deref(), env)?;
    let reader = open(&file).map_err(|flaw| refused(&flaw))?;
    check_installation(reader.header(), &settings)?;
    let replica = replica();
    let opened = Box::pin(stores(&settings, &replica, Start::Checked)).await;
    let store = opened.map_err(|error| failure(&error))?;
    let made_at = reader.header().at;
    let work = async {
        if !store.archive.is_empty().await.map_err(|error| unusable(&error))? {
            let message = "the store is not empty: a backup is restored into an empty one only";
            return Err(Failure::failed(message)
                .hint("name another store in the configuration, or move this one away"));
        }
        write_all(reader, &store).await.map_err(|why| {
            Failure::failed(format!("cannot restore {shown}: {why}")).hint(
                "the store has a part of the backup now: empty it, or name another, and restore \
                 again",
            )
        })
    };
    alone(&*store.runs, &replica, Box::pin(work)).await?;
    out(&format!("restored {counts} of {made_at}\n"))?;
    note("start the server: it brings together what has changed since");
    Ok(())
}

fn open(file: &Path) -> Result<BackupReader<BufReader<File>>, Flaw> {
    BackupReader::open(BufReader::new(File::open(file)?))
}

/// Loads the settings of a store that outlives its process.
pub(super) fn durable(file: Option<&Path>, env: &Env) -> Result<Settings, Failure> {
    let Loaded { settings, warnings, .. } = settings::load(file, env)?;
    for warning in &warnings {
        warn(warning);
    }
    let ends_with_it = matches!(settings.store, StoreUrl::Memory);
    if ends_with_it {
        return Err(Failure::usage("store = \"memory:\" keeps nothing after this command")
            .hint("set `store` to \"redb:DIR\" or \"dynamodb:TABLE\""));
    }
    Ok(settings)
}

/// The names of runners and machines tell their installation.
fn check_installation(header: &BackupHeader, settings: &Settings) -> Result<(), Failure> {
    let own = &settings.installation;
    if header.installation == *own {
        return Ok(());
    }
    let other = cut(&header.installation, 60);
    Err(Failure::usage(format!(
        "the backup is of the installation `{other}`, the configuration of `{own}`"
    ))
    .hint(format!("set `installation = \"{other}\"`, or use a backup of `{own}`")))
}

/// Does work while no server works with the store, and gives the lease back, also after an error. A
/// file has one owner anyway; of a table, a server that sweeps holds the lease.
pub(super) async fn alone<T>(
    store: &dyn RunStore,
    replica: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let free = store.lease("sweep", replica, Timestamp::now(), LEASE).await;
    if !free.map_err(|error| unusable(&error))? {
        let message = "a server works with this store, or did so until a minute ago";
        return Err(Failure::failed(message)
            .hint("stop every server of this installation, and try again after 90 seconds"));
    }
    let done = tokio::select! {
        done = work => done,
        lost = lease_lost(store, replica) => Err(lost),
    };
    let soon = SignedDuration::from_secs(1);
    let released = store.lease("sweep", replica, Timestamp::now(), soon).await;
    let done = done?;
    released.map_err(|error| unusable(&error))?;
    Ok(done)
}

/// Renews the lease until a server has it.
async fn lease_lost(store: &dyn RunStore, replica: &str) -> Failure {
    loop {
        tokio::time::sleep(RENEWED_AFTER).await;
        // After an error the next renewal may still be in time.
        if let Ok(false) = store.lease("sweep", replica, Timestamp::now(), LEASE).await {
            return Failure::failed("a server began to work with this store meanwhile")
                .hint("stop it, empty the store, or name another, and try again");
        }
    }
}

/// Writes all items. The error says why it ended before.
async fn write_all(
    mut reader: BackupReader<BufReader<File>>,
    store: &Stores,
) -> Result<(), String> {
    let said = |error: PortError| error.to_string();
    loop {
        let mut part = Vec::with_capacity(PART);
        while part.len() < PART
            && let Some(item) = reader.next_item().map_err(|flaw| chain(&flaw))?
        {
            part.push(restored(item));
        }
        if part.is_empty() {
            return Ok(());
        }
        store.archive.insert(part).await.map_err(said)?;
    }
}

/// The server may have used further numbers of attempts after the backup.
fn restored(item: StoreItem) -> StoreItem {
    match item {
        StoreItem::Run(mut run) => {
            skip_numbers(&mut run);
            StoreItem::Run(run)
        }
        other => other,
    }
}

fn remedy(flaw: &Flaw) -> &'static str {
    match flaw {
        Flaw::Newer { .. } => "restore it with that version; nothing was written",
        Flaw::Read(_) => "check the name of the file and its permissions; nothing was written",
        Flaw::NotABackup
        | Flaw::Cut { .. }
        | Flaw::Altered
        | Flaw::Longer { .. }
        | Flaw::Line { .. }
        | Flaw::Twice { .. } => "use another backup; nothing was written",
    }
}

/// Returns the failure to build a part.
pub(super) fn failure(error: &BackendError) -> Failure {
    let message = chain(error);
    match error {
        BackendError::Unsupported { hint, .. } => Failure::usage(message).hint(*hint),
        BackendError::Part { .. } => Failure::failed(message)
            .hint("stop the server first; `tinqs-ci doctor` checks everything else"),
    }
}

/// Returns the failure of a call.
pub(super) fn unusable(error: &PortError) -> Failure {
    Failure::failed(error.to_string()).hint("`tinqs-ci doctor` checks the store, forge and cloud")
}

#[cfg(test)]
mod tests {
    use tinqs_ci_local::store::Store;

    use super::*;

    async fn serves(store: &Store, after: i64) -> bool {
        let then = Timestamp::now() + SignedDuration::from_secs(after);
        store.lease("sweep", "a-server", then, LEASE).await.expect("an answer")
    }

    #[tokio::test]
    async fn a_server_does_not_work_meanwhile_and_need_not_wait_after_an_error() {
        let store = Store::memory().expect("a store");
        let work = async {
            assert!(!serves(&store, 2).await);
            Err::<(), _>(Failure::failed("it failed"))
        };
        assert!(alone(&store, "one", work).await.is_err());
        assert!(serves(&store, 2).await);
    }

    #[tokio::test]
    async fn nothing_is_done_while_a_server_works() {
        let store = Store::memory().expect("a store");
        assert!(serves(&store, 0).await);
        let mut began = false;
        let work = async {
            began = true;
            Ok(())
        };
        assert!(alone(&store, "one", work).await.is_err());
        assert!(!began);
    }
}
