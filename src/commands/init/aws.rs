//! `init --aws`: creates the AWS resources that the configuration names.

use std::path::Path;

use tinqs_ci_aws::setup::{Mistake, SetupError};

use crate::backends;
use crate::commands::failure::{Failure, note, out};
use crate::settings::{self, Env};

/// Creates the missing AWS table and queue that the configuration names, and with `queue_name` a
/// queue that it does not name.
///
/// # Errors
/// The configuration has a mistake, AWS rejects a call, or this build has no AWS adapters.
pub async fn set_up_aws(
    file: Option<&Path>,
    queue_name: Option<String>,
    dry_run: bool,
    env: &Env,
) -> Result<(), Failure> {
    needs_adapters("--aws")?;
    let loaded = settings::load(file, env)?;
    let (report, done) = backends::set_up_aws(&loaded.settings, queue_name, dry_run, &note).await;
    out(&report.text)?;
    done.map_err(|SetupError { mistake, message, hint }| {
        let failure = match mistake {
            Mistake::Usage => Failure::usage(message),
            Mistake::Failed => Failure::failed(message),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// Rejects an option of `init` that needs the AWS adapters if this build has none.
pub(super) fn needs_adapters(option: &str) -> Result<(), Failure> {
    if settings::AWS {
        return Ok(());
    }
    Err(Failure::usage(format!("this build has no AWS adapters, which `init {option}` needs"))
        .hint("build with the feature `aws`: `cargo build --release --features aws`"))
}
