//! Creates the table and the queue if they are missing. Existing ones stay unchanged.

use std::fmt::Write as _;

use aws_config::SdkConfig;

use super::queue;
use super::report::{DOCTOR, RIGHTS, SetupError, SetupReport};
use crate::Config;
use crate::client;
use crate::store::{Deletion, DynamoStore, Ensured, Expiry, Progress, TableError, TableFound};
use tinqs_ci_reconciler::text::chain;

/// Options beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct SetupRequest {
    /// Create a queue of this name and its dead-letter queue.
    pub queue_name: Option<String>,
    /// Only report what would be done.
    pub dry_run: bool,
}

/// Creates what is configured and requested, and tells the progress of what takes minutes. The report
/// lists each completed step, also if a later step fails.
///
/// # Errors
/// Nothing is named, or something cannot be created.
pub async fn run(
    configured: &Config,
    request: &SetupRequest,
    progress: Progress<'_>,
    report: &mut SetupReport,
) -> Result<(), SetupError> {
    let region = configured.region.as_deref();
    let queue = queue::Named::of(request.queue_name.as_deref(), configured.queue.as_deref())?;
    let table = configured.table.as_deref();
    if table.is_none() && queue.is_none() {
        return Err(SetupError::usage(
            "nothing to create: neither a table nor a queue is configured",
        )
        .hint("set store = \"dynamodb:NAME\" (or DDB_TABLE), or pass --queue-name NAME"));
    }
    if let Some(table) = table {
        let config = loaded(region).await?;
        make_table(&config, table, request.dry_run, progress, report).await?;
    }
    if let Some(queue) = queue {
        let config = loaded(queue.region().or(region)).await?;
        queue::make(&config, &queue, request.dry_run, report).await?;
    }
    report.say(if request.dry_run {
        "\nNothing was changed. Run it again without --dry-run to apply this.\n"
    } else {
        "\nNext: `tinqs-ci doctor` checks everything that serve needs.\n"
    });
    Ok(())
}

async fn loaded(region: Option<&str>) -> Result<SdkConfig, SetupError> {
    client::load(region).await.map_err(|error| {
        SetupError::usage(chain(&error)).hint("set AWS_REGION or compute = \"ec2:REGION\"")
    })
}

fn table_failure(error: &TableError) -> SetupError {
    match error {
        TableError::Denied { what, right, command: _ } => {
            let message = format!("{what}, and these credentials lack {right}");
            SetupError::failed(message).hint(RIGHTS)
        }
        TableError::Foreign { .. } | TableError::Late { .. } => SetupError::failed(chain(error)),
        TableError::Request(_) | TableError::Failed { .. } => {
            SetupError::failed(chain(error)).hint(DOCTOR)
        }
    }
}

async fn make_table(
    config: &SdkConfig,
    table: &str,
    dry_run: bool,
    progress: Progress<'_>,
    report: &mut SetupReport,
) -> Result<(), SetupError> {
    let store = DynamoStore::new(client::dynamodb(config), table, "init");
    if dry_run {
        let found = store.inspect_table().await.map_err(|error| table_failure(&error))?;
        report.say(&would_make(table, &found)?);
        return Ok(());
    }
    let done = store.make_table(Deletion::Protected, progress).await;
    let done = done.map_err(|error| table_failure(&error))?;
    report.say(&made(table, &done));
    Ok(())
}

fn would_make(table: &str, found: &TableFound) -> Result<String, SetupError> {
    Ok(match found {
        TableFound::Missing(_) => format!(
            "would create table {table}: on-demand billing, key run_id, indexes open and created, \
             expiry by ttl, deletion protection\n"
        ),
        TableFound::Unseen(why) => return Err(SetupError::failed(why).hint(RIGHTS)),
        TableFound::Foreign(why) => {
            return Err(SetupError::failed(format!(
                "table {table} is not a table of tinqs-ci ({why})"
            ))
            .hint("set `store` to another name"));
        }
        TableFound::There { lacks, expiry, .. } => {
            let mut text = format!("table {table} exists\n");
            for (index, _) in lacks {
                let _ = writeln!(text, "would create its index {index}");
            }
            match expiry {
                Expiry::Off => text += "would enable the deletion of finished runs (ttl)\n",
                Expiry::Other => text += "its time to live uses another attribute: unchanged\n",
                Expiry::On | Expiry::Unseen => {}
            }
            text
        }
    })
}

fn made(table: &str, done: &Ensured) -> String {
    let Ensured { made, indexes, expires, warnings, awaited: _ } = done;
    let mut text = if *made {
        format!(
            "✓ table {table} created: on-demand billing, key run_id, indexes open and created, \
             deletion protection\n"
        )
    } else {
        format!("✓ table {table} exists\n")
    };
    for index in indexes {
        let _ = writeln!(text, "✓ its index {index} created");
    }
    if *expires {
        text += "✓ deletion of finished runs enabled (ttl)\n";
    }
    for warning in warnings {
        let _ = writeln!(text, "! {warning}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_lists_what_was_done() {
        let nothing = made("runs", &Ensured::default());
        assert_eq!(nothing, "✓ table runs exists\n");
        let all = Ensured {
            made: false,
            indexes: vec!["open"],
            expires: true,
            warnings: vec!["careful".to_owned()],
            awaited: None,
        };
        let lines: Vec<String> = made("runs", &all).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1].contains("index open") && lines[2].contains("ttl"), "{lines:?}");
        assert_eq!(lines[3], "! careful");
        assert!(made("runs", &Ensured { made: true, ..all }).contains("created"));
    }

    #[test]
    fn a_dry_run_lists_what_is_missing() {
        let there = |lacks: &[&'static str], expiry| TableFound::There {
            is_active: true,
            lacks: lacks.iter().map(|name| (*name, String::new())).collect(),
            unready: Vec::new(),
            expiry,
            expire_by_hand: String::new(),
        };
        let would = |found| would_make("runs", &found).expect("ours");
        assert_eq!(would(there(&[], Expiry::On)), "table runs exists\n");
        let more = would(there(&["created"], Expiry::Off));
        assert!(more.contains("would create its index created") && more.contains("ttl"), "{more}");
        assert!(would(TableFound::Missing(String::new())).starts_with("would create table runs"));
        for other in [TableFound::Foreign("x".to_owned()), TableFound::Unseen("x".to_owned())] {
            assert!(would_make("runs", &other).is_err());
        }
    }
}
