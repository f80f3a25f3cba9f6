//! The inbox of deliveries, and push mode: evaluates deliveries as the forge does, and creates
//! runs.

pub mod evaluate;
mod inbox_loop;
mod item;
pub mod runs;

use std::sync::LazyLock;

use tinqs_ci_reconciler::model::RunName;

pub use inbox_loop::{Pass, PushResult, Pushes};

/// Returns the name that a wake-up about the inbox carries: "read the inbox". No run has it,
/// because the name of a push's run hashes more parts; a replica of an earlier version finds no run
/// to reconcile.
pub fn inbox_wake() -> RunName {
    // Hashed once: each stored delivery sends one, and each wake-up is compared with it.
    static NAME: LazyLock<RunName> = LazyLock::new(|| RunName::push(&["inbox"]));
    NAME.clone()
}
