//! Machines on this host: each is a set of processes with a directory of its own.
//!
//! ```text
//! DIR/tq-job-7-0a1b2c3d-1-0/   made by `mkdir`: the client token (attempt ID, placement)
//!   machine.json               the request; written once
//!   boot.sh                    the boot script with the identity (deleted at the end)
//!   tells-end                  its boot script says in `home` that it powers off
//!   started                    made by the machine itself, exclusively: pid and start time
//!   terminated                 its termination was requested
//!   ended                      when and by whom it ended; the directory stays 30 min after that
//!   log                        output of script and runner (a job's output goes to the forge)
//!   home/ tmp/                 of the job (deleted at the end)
//! ```
//!
//! A machine is every process that carries `TINQS_CI_MACHINE=<token>` in its environment. The
//! processes have process groups of their own, so signals to the controller do not reach them, and
//! a restarted controller finds them again. A second start of one token does nothing, because
//! `started` can be created only once. Jobs run as the controller's user, or as the one of
//! [`Options::user`]: then `home` and `tmp` are in a directory of that user, the rest stays closed to
//! it, and the boot script comes through a pipe. In both cases jobs are not isolated from one
//! another; a process that a job starts as another user or with an empty environment is not part of
//! the machine.

mod directory;
mod discard;
mod live;
mod log;
mod scan;
mod start;
mod user;

pub use directory::Ended;
pub use user::is_usable;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Cause, Machine, MachineId, MachineState, RunName,
};
use tinqs_ci_reconciler::ports::{Clock, Compute, ErrorKind, MachineEnds, MachineLog, PortError};

use directory::{Place, Prepared};
use live::Live;
use tinqs_ci_boot as boot;
use user::Account;

/// Time limit of `list`, `find` and `launch`.
const DEADLINE: Duration = Duration::from_secs(20);
/// The variables that machines inherit from the controller.
const INHERITED: [&str; 8] =
    ["PATH", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Options for launching and terminating machines.
#[derive(Clone, Debug)]
pub struct Options {
    /// Environment of the machines, in addition to HOME, TMPDIR and the marker (and USER and
    /// LOGNAME, which the boot script sets to its own user). PATH must contain bash, coreutils and
    /// the runner.
    pub environment: Vec<(OsString, OsString)>,
    /// The time for which an ended machine is listed.
    pub keep: SignedDuration,
    /// Time between SIGTERM and SIGKILL when a machine is terminated.
    pub grace: Duration,
    /// The user as whom machines run; `None`: the controller's own.
    pub user: Option<String>,
    /// The directory in which the machines of that user work; `None`: `machines` in its home.
    pub user_directory: Option<PathBuf>,
}

impl Options {
    /// Default options, with PATH, locale, time zone, user and certificates from these variables;
    /// no others, because they may hold credentials.
    pub fn inherit(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let is_inherited = |name: &OsString| INHERITED.iter().any(|inherited| name == inherited);
        Self {
            environment: variables.into_iter().filter(|(name, _)| is_inherited(name)).collect(),
            keep: SignedDuration::from_mins(30),
            grace: Duration::from_secs(3),
            user: None,
            user_directory: None,
        }
    }
}

/// The machines of a directory.
pub struct Processes {
    inner: Arc<Inner>,
}

/// The reason why this host cannot run machines.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The directory cannot be created or accessed.
    #[error("cannot keep machines in `{dir}`: check that this user may write there")]
    Dir {
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// There is no `/proc`.
    #[error(
        "`process:` machines need Linux with `/proc` mounted: run tinqs-ci there, or choose another `compute`"
    )]
    NoProc,
    /// Machines cannot run as this user.
    #[error("machines cannot run as `{name}`: this user {why}; set another `process.user`")]
    User {
        /// The user.
        name: String,
        /// The problem with the user.
        why: String,
    },
    /// The controller may not act for the machines' user.
    #[error(
        "machines cannot run as `{name}`: this process lacks {lacks}; start it by the systemd unit of tinqs-ci, which grants that, or as root"
    )]
    Rights {
        /// The user.
        name: String,
        /// The missing capabilities.
        lacks: String,
    },
    /// The directory of the machines' user cannot be used.
    #[error(
        "machines of `{name}` cannot work in `{dir}`: it must belong to that user, and be reachable for it; or set another `process.directory`"
    )]
    Workspace {
        /// The user.
        name: String,
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

struct Inner {
    /// Absolute.
    dir: PathBuf,
    account: Account,
    clock: Arc<dyn Clock>,
    options: Options,
    /// Whether a task is deleting the leftovers of ended machines.
    sweeping: AtomicBool,
    live: Live,
}

impl Processes {
    /// Returns the machines of this directory, including those of an earlier process. Creates it
    /// (0700).
    ///
    /// # Errors
    /// [`HostError`].
    pub fn new(dir: &Path, clock: Arc<dyn Clock>, options: Options) -> Result<Self, HostError> {
        if !Path::new("/proc/self/environ").exists() {
            return Err(HostError::NoProc);
        }
        let made = directory::make(dir).and_then(|()| dir.canonicalize());
        let dir = made.map_err(|source| HostError::Dir { dir: dir.to_owned(), source })?;
        let account = match &options.user {
            Some(name) => Account::named(name, options.user_directory.clone())?,
            None => Account::default(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                dir,
                account,
                clock,
                options,
                sweeping: AtomicBool::new(false),
                live: Live::default(),
            }),
        })
    }

    /// Runs blocking work on a thread for that.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        within: Duration,
        work: impl FnOnce(&Inner) -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, PortError> {
        let inner = Arc::clone(&self.inner);
        let work = tokio::task::spawn_blocking(move || work(&inner));
        match tokio::time::timeout(within, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(panicked)) => {
                Err(unavailable(operation, format!("the operation panicked: {panicked}")))
            }
            Err(_) => {
                let message = format!("this host did not answer within {} s", within.as_secs());
                Err(unavailable(operation, message))
            }
        }
    }

    /// Deletes the leftovers of ended machines in the background.
    fn sweep(&self) {
        let inner = Arc::clone(&self.inner);
        if !inner.sweeping.swap(true, Ordering::AcqRel) {
            tokio::task::spawn_blocking(move || {
                discard::sweep_discarded(&inner.dir, &inner.account);
                inner.sweeping.store(false, Ordering::Release);
            });
        }
    }
}

fn unavailable(operation: &'static str, message: impl Into<String>) -> PortError {
    PortError::new("compute", operation, ErrorKind::Unavailable, message)
}

/// The directory of a machine ID; `None` if it cannot be one of ours.
fn place_of(inner: &Inner, id: &MachineId) -> Option<Place> {
    Place::of_token(&inner.dir, &inner.account, &id.0)
}

/// Covers the machines that were launched or listed here. Reads little more than one file per live
/// machine.
#[async_trait]
impl MachineEnds for Processes {
    async fn ended(&self) -> Result<Vec<RunName>, PortError> {
        self.blocking("ended", DEADLINE, |inner| {
            let place = |token: &str| Place::of_token(&inner.dir, &inner.account, token);
            Ok(inner.live.ended(&inner.account, place, inner.clock.now()))
        })
        .await
    }
}

#[async_trait]
impl Compute for Processes {
    async fn list(&self) -> Result<Vec<Machine>, PortError> {
        let machines = self.blocking("list", DEADLINE, |inner| {
            let places = directory::places(&inner.dir, &inner.account)
                .map_err(|error| directory::failed("list", &inner.dir, error))?;
            let mut processes = scan::Scan::new(&inner.account);
            let now = inner.clock.now();
            let mut machines = Vec::new();
            for place in places {
                if let Some(machine) = place.inspect(&mut processes, now) {
                    inner.live.saw(&machine);
                    machines.push(machine);
                }
                place.clean(&mut processes, now, inner.options.keep);
            }
            Ok(machines)
        });
        let machines = machines.await?;
        self.sweep();
        Ok(machines)
    }

    async fn find(&self, id: &MachineId) -> Result<Option<Machine>, PortError> {
        let Some(place) = place_of(&self.inner, id) else { return Ok(None) };
        self.blocking("find", DEADLINE, move |inner| {
            Ok(place.inspect(&mut scan::Scan::new(&inner.account), inner.clock.now()))
        })
        .await
    }

    async fn launch(
        &self,
        attempt_id: &AttemptId,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Machine, PortError> {
        // Concerns this attempt only.
        let invalid = |message: String| {
            PortError::new("compute", "launch", ErrorKind::Invalid, message).because(Cause::Attempt)
        };
        let place =
            Place::of_token(&self.inner.dir, &self.inner.account, &attempt_id.token(placement))
                .ok_or_else(|| invalid("the attempt ID is not valid".to_owned()))?;
        let requested = usize::try_from(placement).ok().and_then(|at| attempt.placements.get(at));
        let requested = requested
            .ok_or_else(|| invalid(format!("attempt {attempt_id} has no placement {placement}")))?;
        let machine = Machine {
            id: MachineId(place.token.clone()),
            attempt_id: attempt_id.clone(),
            placement,
            state: MachineState::Up,
            launched_at: self.inner.clock.now(),
            deadline: attempt.boot.deadline,
            registration: attempt.runner.id,
            repo_id: attempt.runner.repo_id,
            promise: attempt.boot.promise(),
            ended_by: None,
            ended_at: None,
            state_reason: None,
            class: attempt.class.clone(),
            kind: requested.machine.kind.clone(),
            zone: String::new(),
            market: requested.machine.market,
        };
        let script = boot::script(attempt_id, placement, attempt);
        let prepared = self
            .blocking("launch", DEADLINE, move |inner| {
                let prepared = place.prepare(machine, &script, inner.clock.now());
                prepared
                    .map(|prepared| (prepared, place.clone(), script))
                    .map_err(|error| directory::failed("launch", &place.dir, error))
            })
            .await?;
        match prepared {
            (Prepared::Exists(machine), ..) => Ok(machine),
            (Prepared::Ready(machine), place, script) => {
                self.start(&place, &script).await?;
                self.inner.live.saw(&machine);
                Ok(machine)
            }
        }
    }

    async fn terminate(&self, id: &MachineId) -> Result<(), PortError> {
        let Some(place) = place_of(&self.inner, id) else { return Ok(()) };
        let grace = self.inner.options.grace;
        self.blocking("terminate", grace + DEADLINE, move |inner| {
            let requested = place.request_end();
            if !requested.map_err(|error| directory::failed("terminate", &place.dir, error))? {
                return Ok(());
            }
            scan::end(&inner.account, &place.token, grace).map_err(|left| {
                let message =
                    format!("{} has processes that survive SIGKILL: {left:?}", place.token);
                unavailable("terminate", message)
            })?;
            // Records the end.
            place.inspect(&mut scan::Scan::new(&inner.account), inner.clock.now());
            Ok(())
        })
        .await
    }

    async fn log(&self, id: &MachineId, most: usize) -> Result<Option<MachineLog>, PortError> {
        let Some(place) = place_of(&self.inner, id) else { return Ok(None) };
        self.blocking("log", DEADLINE, move |_| {
            log::end(&place, most).map_err(|error| directory::failed("log", &place.dir, error))
        })
        .await
    }

    fn room(&self) -> bool {
        true
    }
}
