//! The reasons why a store cannot be opened.

use std::path::PathBuf;

/// The reason why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has opened it.
    #[error(
        "`{file}` is in use by another tinqs-ci process: stop it, or set another directory \
         (store = \"redb:DIR\")"
    )]
    Busy {
        /// The file.
        file: PathBuf,
    },
    /// The directory or the file cannot be created or opened.
    #[error(
        "cannot open the store `{file}`: check this user's write permission and the disk's space"
    )]
    Io {
        /// The directory or file.
        file: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The file is no database, or damaged.
    #[error(
        "`{file}` is not a store of tinqs-ci or is damaged ({reason}): move it away and restart; \
         the poll finds waiting jobs again"
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The problem with it.
        reason: String,
    },
    /// A newer tinqs-ci wrote the file.
    #[error(
        "`{file}` was written by a newer tinqs-ci (format {format}): run that version, or move the \
         file away"
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: u64,
    },
    /// A thread of the store cannot be started.
    #[error("cannot start a thread of the store: raise the limit of threads of this process")]
    Thread(#[source] std::io::Error),
}
