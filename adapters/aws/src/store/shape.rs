//! The table's schema: its key, its indexes, its attributes.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TableDescription,
};
use serde_json::{Value, json};

use super::item::{CREATED, KEY, KIND, OPEN, TTL};

/// The indexes, both of keys only, by an attribute of their own and [`CREATED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// Open runs.
    Open,
    /// All runs and deliveries, by creation time.
    Created,
}

pub(super) const INDEXES: [Index; 2] = [Index::Open, Index::Created];

impl Index {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Created => "created",
        }
    }

    /// The attribute that an item in this index must have.
    pub(super) fn partition(self) -> &'static str {
        match self {
            Self::Open => OPEN,
            Self::Created => KIND,
        }
    }
}

/// Returns the table's schema, for the documentation and for `aws dynamodb create-table
/// --cli-input-json`.
pub fn description() -> Value {
    let attributes = attributes(&[KEY, OPEN, KIND, CREATED]);
    let indexes: Vec<Value> = INDEXES.into_iter().map(index_of).collect();
    json!({
        "create_table": {
            "TableName": "tinqs-ci",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": attributes,
            "KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}],
            "GlobalSecondaryIndexes": indexes,
        },
        "update_time_to_live": {
            "TableName": "tinqs-ci",
            "TimeToLiveSpecification": {"AttributeName": TTL, "Enabled": true},
        },
        "items": super::item::described(),
    })
}

fn attributes(names: &[&str]) -> Vec<Value> {
    let one = |name: &&str| json!({"AttributeName": name, "AttributeType": kind_of(name).as_str()});
    names.iter().map(one).collect()
}

fn index_of(index: Index) -> Value {
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    json!({
        "IndexName": index.name(),
        "KeySchema": [key(index.partition(), "HASH"), key(CREATED, "RANGE")],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    })
}

fn kind_of(attribute: &str) -> ScalarAttributeType {
    if attribute == CREATED { ScalarAttributeType::N } else { ScalarAttributeType::S }
}

pub(super) fn definition(name: &str) -> Result<AttributeDefinition, BuildError> {
    let built = AttributeDefinition::builder().attribute_name(name).attribute_type(kind_of(name));
    built.build()
}

pub(super) fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, BuildError> {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build()
}

pub(super) fn keys_only() -> Projection {
    Projection::builder().projection_type(ProjectionType::KeysOnly).build()
}

pub(super) fn has_keys(there: &[KeySchemaElement], wanted: &[(&str, KeyType)]) -> bool {
    there.len() == wanted.len()
        && wanted.iter().all(|(name, kind)| {
            there.iter().any(|key| key.attribute_name() == *name && key.key_type() == kind)
        })
}

pub(super) fn has_kind(table: &TableDescription, attribute: &str) -> bool {
    let mut known = table.attribute_definitions().iter();
    let known = known.find(|known| known.attribute_name() == attribute);
    known.is_some_and(|known| *known.attribute_type() == kind_of(attribute))
}

/// The command that creates the table.
pub(super) fn table_by_hand(table: &str) -> String {
    let mut request = description()["create_table"].take();
    request["TableName"] = table.into();
    format!("aws dynamodb create-table --cli-input-json '{request}'")
}

/// The command that creates an index.
pub(super) fn index_by_hand(table: &str, index: Index) -> String {
    let (attributes, create) = (attributes(&[KEY, index.partition(), CREATED]), index_of(index));
    let request = json!({
        "TableName": table,
        "AttributeDefinitions": attributes,
        "GlobalSecondaryIndexUpdates": [{"Create": create}],
    });
    format!("aws dynamodb update-table --cli-input-json '{request}'")
}

/// The command that enables the deletion of finished runs.
pub(super) fn expiry_by_hand(table: &str) -> String {
    format!(
        "aws dynamodb update-time-to-live --table-name {table} --time-to-live-specification \
         AttributeName={TTL},Enabled=true"
    )
}
