//! The pauses: one item, with one attribute for each class and one for all.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValue};
use jiff::Timestamp;
use tinqs_ci_reconciler::model::{ClassName, Pause};
use tinqs_ci_reconciler::ports::PortError;

use super::item::{self, Item, KEY};
use super::{DynamoStore, quarantined};
use crate::errors::dynamodb::port_error;

/// The key of the item.
const PAUSES: &str = "pauses";
/// The attribute of the pause of every class.
const ALL: &str = "all";
/// The prefix of the attribute of a class.
const OF_CLASS: &str = "class#";

fn attribute(class: Option<&ClassName>) -> String {
    class.map_or_else(|| ALL.to_owned(), |class| format!("{OF_CLASS}{class}"))
}

/// Returns the pause of an attribute; `None` if it is none. One that cannot be read still pauses:
/// to launch would be worse.
fn understood(name: &str, value: &AttributeValue) -> Option<Pause> {
    let class = match name.strip_prefix(OF_CLASS) {
        Some(class) => Some(ClassName(class.to_owned())),
        None if name == ALL => None,
        None => return None,
    };
    let text = value.as_s().map_or("", String::as_str);
    Some(serde_json::from_str(text).unwrap_or_else(|error| {
        quarantined(&format!("{PAUSES} {name}"), &error.to_string());
        Pause { class, since: Timestamp::UNIX_EPOCH, by: "unknown".to_owned() }
    }))
}

fn pauses(item: Option<&Item>) -> Vec<Pause> {
    let all = item.into_iter().flatten();
    let mut all: Vec<Pause> = all.filter_map(|(name, value)| understood(name, value)).collect();
    all.sort_by(|a, b| a.class.cmp(&b.class));
    all
}

impl DynamoStore {
    pub(super) async fn store_pause(&self, pause: &Pause) -> Result<Pause, PortError> {
        let text = serde_json::to_string(pause).unwrap_or_default();
        let asked = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(KEY, item::text(PAUSES))
            .update_expression("SET #pause = if_not_exists(#pause, :pause)")
            .expression_attribute_names("#pause", attribute(pause.class.as_ref()))
            .expression_attribute_values(":pause", item::text(text))
            .return_values(ReturnValue::AllNew)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = asked.send().await.map_err(|error| port_error("pause", &error))?;
        self.wrote(answer.consumed_capacity());
        let held = pauses(answer.attributes());
        Ok(held.into_iter().find(|held| held.class == pause.class).unwrap_or_else(|| pause.clone()))
    }

    /// Reads what it will end first: the answer to a removal whose reply was lost is that of its
    /// second try, which ended nothing.
    pub(super) async fn end_pauses(
        &self,
        class: Option<&ClassName>,
    ) -> Result<Vec<Pause>, PortError> {
        let mut held = self.item("resume", PAUSES).await?.unwrap_or_default();
        let wanted = class.map(|class| attribute(Some(class)));
        held.retain(|name, value| {
            understood(name, value).is_some() && wanted.as_ref().is_none_or(|wanted| name == wanted)
        });
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = (0..held.len()).map(|index| format!("#p{index}")).collect();
        let mut asked = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(KEY, item::text(PAUSES))
            .update_expression(format!("REMOVE {}", names.join(", ")))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        for (name, attribute) in names.into_iter().zip(held.keys()) {
            asked = asked.expression_attribute_names(name, attribute);
        }
        let answer = asked.send().await.map_err(|error| port_error("resume", &error))?;
        self.wrote(answer.consumed_capacity());
        Ok(pauses(Some(&held)))
    }

    pub(super) async fn list_pauses(&self) -> Result<Vec<Pause>, PortError> {
        Ok(pauses(self.item("pauses", PAUSES).await?.as_ref()))
    }
}
