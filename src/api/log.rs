//! `GET /v1/machines/{id}/log`: its limit and its headers.

/// The maximum number of bytes per response.
pub const LOG_TAIL_LIMIT: usize = 1 << 20;
/// The header that says whether the log has earlier bytes: `true` or `false`.
pub const LOG_CUT: &str = "tinqs-ci-log-cut";
/// The header with the machine's state: `booting`, `up`, `ending` or `gone`.
pub const MACHINE_STATE: &str = "tinqs-ci-machine-state";
