//! What stands for `init --aws` in a build without AWS.

use std::path::Path;

use crate::cli::Failure;
use crate::config::Env;

/// Says what is missing.
///
/// # Errors
/// Always.
#[allow(clippy::unused_async, reason = "the other one waits")]
pub async fn run(
    _file: Option<&Path>,
    _queue_name: Option<String>,
    _dry_run: bool,
    _env: &Env,
) -> Result<(), Failure> {
    Err(Failure::usage("this build has no `init --aws`")
        .hint("build it with the feature `aws`, which is on by default"))
}
