//! `init --aws`: what a configuration names there is made.

use std::path::Path;

use crate::aws::setup::{self, Wish};
use crate::cli::Failure;
use crate::config::{self, Env};

/// Makes the table and the queue; `queue_name` asks for one that the configuration does not name.
///
/// # Errors
/// A mistake of the configuration, or what AWS refuses.
pub async fn run(
    file: Option<&Path>,
    queue_name: Option<String>,
    dry_run: bool,
    env: &Env,
) -> Result<(), Failure> {
    let loaded = config::load(file, env)?;
    Box::pin(setup::run(&loaded.settings, &Wish { queue_name, dry_run })).await
}
