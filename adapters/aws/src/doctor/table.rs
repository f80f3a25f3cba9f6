//! Checks the table: it exists, is ours and complete, and this process may use it.

use aws_config::SdkConfig;

use super::{NETWORK, failed};
use crate::client;
use crate::store::{DynamoStore, Expiry, TableError, TableFound};
use tinqs_ci_reconciler::ports::check::Check;

const STORE: &str = "store";
const INDEXES: &str = "store: indexes";
const EXPIRY: &str = "store: expiry";
const RIGHTS: &str = "store: rights";

/// The role of `serve` usually may not administer the table.
const OR_SERVE: &str = "`tinqs-ci init --aws` does it; so does serve if its role may";

pub(super) async fn checks(config: &SdkConfig, table: &str) -> Vec<Check> {
    let store = DynamoStore::new(client::dynamodb(config), table, "doctor");
    let found = match store.inspect_table().await {
        Ok(found) => found,
        Err(error) => return vec![unknown(&error)],
    };
    let usable = matches!(found, TableFound::There { .. } | TableFound::Unseen(_));
    let mut checks = judged(table, found);
    if usable {
        let rights = match store.missing_rights().await {
            Ok(missing) if missing.is_empty() => {
                Check::ok(RIGHTS, "this process may read, write and delete items")
            }
            Ok(missing) => Check::fail(
                RIGHTS,
                format!("this process may not {}", missing.join(", ")),
                "allow its role the actions of deploy/aws/iam/controller.json (statement Runs)",
            ),
            Err(error) => {
                failed(RIGHTS, "cannot check its permissions", "dynamodb:GetItem", &error)
            }
        };
        checks.push(rights);
    }
    checks
}

fn unknown(error: &TableError) -> Check {
    Check::fail(STORE, error.to_string(), NETWORK)
}

fn judged(table: &str, found: TableFound) -> Vec<Check> {
    let (is_active, lacks, unready, expiry, expire_by_hand) = match found {
        TableFound::Missing(by_hand) => {
            return vec![Check::fail(
                STORE,
                format!("dynamodb:{table} does not exist in this account and region"),
                format!("`tinqs-ci init --aws` creates it; by hand: {by_hand}"),
            )];
        }
        TableFound::Unseen(why) => {
            let fix = "allow dynamodb:DescribeTable to its role for a full check";
            return vec![Check::warn(STORE, format!("dynamodb:{table}: {why}"), fix)];
        }
        TableFound::Foreign(why) => {
            return vec![Check::fail(
                STORE,
                format!("dynamodb:{table} is not a table of tinqs-ci: {why}"),
                "set `store` to another name; `tinqs-ci init --aws` creates the table",
            )];
        }
        TableFound::There { is_active, lacks, unready, expiry, expire_by_hand } => {
            (is_active, lacks, unready, expiry, expire_by_hand)
        }
    };
    let mut checks = vec![if is_active {
        Check::ok(STORE, format!("dynamodb:{table} exists and has the right key"))
    } else {
        let fix = "wait until it is active";
        Check::warn(STORE, format!("dynamodb:{table} is being created or changed"), fix)
    }];
    if lacks.is_empty() && unready.is_empty() {
        checks.push(Check::ok(INDEXES, "`open` and `created` exist"));
    }
    for index in unready {
        checks.push(Check::warn(
            INDEXES,
            format!("`{index}` is being created: serve is not ready until it is there"),
            "wait: this takes minutes, and serve goes on by itself",
        ));
    }
    for (index, by_hand) in lacks {
        checks.push(Check::warn(
            INDEXES,
            format!("`{index}` is missing: serve needs it"),
            format!("{OR_SERVE}; by hand: {by_hand}"),
        ));
    }
    checks.push(match expiry {
        Expiry::On => Check::ok(EXPIRY, "the table deletes finished runs"),
        Expiry::Off => Check::warn(
            EXPIRY,
            "finished runs are kept forever",
            format!("{OR_SERVE}; by hand: {expire_by_hand}"),
        ),
        Expiry::Other => Check::warn(
            EXPIRY,
            "its time to live uses another attribute than `ttl`: finished runs are kept forever",
            "switch that off, then `tinqs-ci init --aws`",
        ),
        Expiry::Unseen => Check::warn(
            EXPIRY,
            "cannot see whether finished runs are deleted",
            "allow dynamodb:DescribeTimeToLive to its role",
        ),
    });
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinqs_ci_reconciler::ports::check::Outcome;

    fn outcomes(found: TableFound) -> Vec<(&'static str, Outcome)> {
        let checks = judged("runs", found);
        for check in &checks {
            assert_eq!(check.outcome == Outcome::Ok, check.fix.is_none(), "{check:?}");
        }
        checks.iter().map(|check| (check.name, check.outcome)).collect()
    }

    #[test]
    fn what_is_missing_decides_the_outcome() {
        let there = |lacks: &[&'static str], expiry| TableFound::There {
            is_active: true,
            lacks: lacks.iter().map(|name| (*name, "by hand".to_owned())).collect(),
            unready: Vec::new(),
            expiry,
            expire_by_hand: "by hand".to_owned(),
        };
        let (ok, warn, fail) = (Outcome::Ok, Outcome::Warn, Outcome::Fail);
        assert_eq!(outcomes(there(&[], Expiry::On)), [(STORE, ok), (INDEXES, ok), (EXPIRY, ok)]);
        assert_eq!(
            outcomes(there(&["open", "created"], Expiry::Off)),
            [(STORE, ok), (INDEXES, warn), (INDEXES, warn), (EXPIRY, warn)]
        );
        for expiry in [Expiry::Other, Expiry::Unseen] {
            assert_eq!(outcomes(there(&[], expiry))[2], (EXPIRY, warn));
        }
        let unready = TableFound::There {
            is_active: false,
            lacks: vec![("created", "by hand".to_owned())],
            unready: vec!["open"],
            expiry: Expiry::On,
            expire_by_hand: String::new(),
        };
        let being_made = [(STORE, warn), (INDEXES, warn), (INDEXES, warn), (EXPIRY, ok)];
        assert_eq!(outcomes(unready), being_made);
        assert_eq!(outcomes(TableFound::Missing("aws".to_owned())), [(STORE, fail)]);
        assert_eq!(outcomes(TableFound::Foreign("a range key".to_owned())), [(STORE, fail)]);
        assert_eq!(outcomes(TableFound::Unseen("no right".to_owned())), [(STORE, warn)]);
    }
}
