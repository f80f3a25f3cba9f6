//! The table and the queue, made where they are missing. What is there stays as it is.

use std::fmt::Write as _;

use aws_config::SdkConfig;

use super::queue;
use super::report::{DOCTOR, RIGHTS, SetupError, SetupReport};
use crate::Config;
use crate::client;
use crate::store::{Deletion, DynamoStore, Ensured, Expiry, TableError, TableFound};
use tinqs_ci_reconciler::text::chain;

/// What is asked for beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// A queue of this name, with one for dead letters.
    pub queue_name: Option<String>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Makes what is configured and wished for, and reports each thing done, also where it fails later.
///
/// # Errors
/// Nothing is named, or something cannot be made.
pub async fn run(
    configured: &Config,
    wish: &Wish,
    report: &mut SetupReport,
) -> Result<(), SetupError> {
    let region = configured.region.as_deref();
    let queue = queue::Named::of(wish.queue_name.as_deref(), configured.queue.as_deref())?;
    let table = configured.table.as_deref();
    if table.is_none() && queue.is_none() {
        return Err(SetupError::usage(
            "there is nothing to make: neither table nor queue is named",
        )
        .hint("set store = \"dynamodb:NAME\" (or DDB_TABLE), or give --queue-name NAME"));
    }
    if let Some(table) = table {
        let config = loaded(region).await?;
        make_table(&config, table, wish.dry_run, report).await?;
    }
    if let Some(queue) = queue {
        let config = loaded(queue.region().or(region)).await?;
        queue::make(&config, &queue, wish.dry_run, report).await?;
    }
    report.say(if wish.dry_run {
        "\nNothing was done: without --dry-run it is.\n"
    } else {
        "\nNext: `tinqs-ci doctor` checks everything that serve needs.\n"
    });
    Ok(())
}

async fn loaded(region: Option<&str>) -> Result<SdkConfig, SetupError> {
    client::load(region).await.map_err(|error| {
        SetupError::usage(chain(&error))
            .hint("AWS_REGION or compute = \"ec2:REGION\" names the region")
    })
}

fn table_failure(error: &TableError) -> SetupError {
    match error {
        TableError::Denied { what, right, command: _ } => {
            let message = format!("{what}, and these credentials may not do it: it needs {right}");
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
    report: &mut SetupReport,
) -> Result<(), SetupError> {
    let store = DynamoStore::new(client::dynamodb(config), table, "init");
    if dry_run {
        let found = store.look_at_table().await.map_err(|error| table_failure(&error))?;
        report.say(&would_make(table, &found)?);
        return Ok(());
    }
    let done =
        store.make_table(Deletion::Protected).await.map_err(|error| table_failure(&error))?;
    report.say(&made(table, &done));
    Ok(())
}

fn would_make(table: &str, found: &TableFound) -> Result<String, SetupError> {
    Ok(match found {
        TableFound::Missing(_) => format!(
            "would make table {table}: paid by use, key run_id, indexes open and created, expiry by \
             ttl, protected from deletion\n"
        ),
        TableFound::Unseen(why) => return Err(SetupError::failed(why).hint(RIGHTS)),
        TableFound::Foreign(why) => {
            return Err(SetupError::failed(format!(
                "table {table} is not one of tinqs-ci ({why})"
            ))
            .hint("give `store` another name"));
        }
        TableFound::There { lacks, expiry, .. } => {
            let mut text = format!("table {table} is there\n");
            for (index, _) in lacks {
                let _ = writeln!(text, "would add its index {index}");
            }
            match expiry {
                Expiry::Off => text += "would let it remove finished runs (ttl)\n",
                Expiry::Other => text += "its time to live is another attribute: that stays\n",
                Expiry::On | Expiry::Unseen => {}
            }
            text
        }
    })
}

fn made(table: &str, done: &Ensured) -> String {
    let Ensured { made, indexes, expires, warnings } = done;
    let mut text = if *made {
        format!(
            "✓ table {table} is made: paid by use, key run_id, indexes open and created, protected \
             from deletion\n"
        )
    } else {
        format!("✓ table {table} is there\n")
    };
    for index in indexes {
        let _ = writeln!(text, "✓ its index {index} is made");
    }
    if *expires {
        text += "✓ it removes finished runs from now on (ttl)\n";
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
    fn what_was_done_is_said_and_nothing_else() {
        let nothing = made("runs", &Ensured::default());
        assert_eq!(nothing, "✓ table runs is there\n");
        let all = Ensured {
            made: false,
            indexes: vec!["open"],
            expires: true,
            warnings: vec!["careful".to_owned()],
        };
        let lines: Vec<String> = made("runs", &all).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1].contains("index open") && lines[2].contains("ttl"), "{lines:?}");
        assert_eq!(lines[3], "! careful");
        assert!(made("runs", &Ensured { made: true, ..all }).contains("is made"));
    }

    #[test]
    fn what_would_be_done_is_what_is_missing() {
        let there = |lacks: &[&'static str], expiry| TableFound::There {
            is_active: true,
            lacks: lacks.iter().map(|name| (*name, String::new())).collect(),
            expiry,
            expire_by_hand: String::new(),
        };
        let would = |found| would_make("runs", &found).expect("ours");
        assert_eq!(would(there(&[], Expiry::On)), "table runs is there\n");
        let more = would(there(&["created"], Expiry::Off));
        assert!(more.contains("would add its index created") && more.contains("ttl"), "{more}");
        assert!(would(TableFound::Missing(String::new())).starts_with("would make table runs"));
        for other in [TableFound::Foreign("x".to_owned()), TableFound::Unseen("x".to_owned())] {
            assert!(would_make("runs", &other).is_err());
        }
    }
}
