//! Everything that the world's store keeps.

use async_trait::async_trait;
use tinqs_ci_reconciler::model::Usage;
use tinqs_ci_reconciler::ports::{Archive, PortError, Snapshot, SnapshotPart, StoreItem};

use super::TestWorld;
use super::ports::conflict;

/// The parts that are left.
struct Parts(Vec<Vec<StoreItem>>);

#[async_trait]
impl Snapshot for Parts {
    async fn next(&mut self) -> Result<Option<SnapshotPart>, PortError> {
        Ok(self.0.pop().map(|items| SnapshotPart { items, unreadable: 0 }))
    }
}

#[async_trait]
impl Archive for TestWorld {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, PortError> {
        let state = self.call("store", "snapshot")?;
        let usage = state.usage.iter();
        let usage = usage.map(|(key, amount)| Usage { key: key.clone(), amount: *amount });
        let seats = state.seats.iter().cloned();
        // The last one is the first to be read.
        Ok(Box::new(Parts(vec![
            seats.map(|(class, seat)| StoreItem::Seat { class, seat }).collect(),
            state.runs.values().cloned().map(|run| StoreItem::Run(Box::new(run))).collect(),
            usage.map(StoreItem::Usage).collect(),
            state.inbox.values().cloned().map(StoreItem::Delivery).collect(),
            state.pauses.iter().cloned().map(StoreItem::Pause).collect(),
        ])))
    }

    async fn is_empty(&self) -> Result<bool, PortError> {
        let state = self.call("store", "is_empty")?;
        Ok(state.runs.is_empty()
            && state.seats.is_empty()
            && state.pauses.is_empty()
            && state.usage.is_empty()
            && state.inbox.is_empty())
    }

    async fn insert(&self, items: Vec<StoreItem>) -> Result<(), PortError> {
        let mut state = self.call("store", "insert")?;
        for item in items {
            match item {
                StoreItem::Run(run) if state.runs.contains_key(&run.name) => {
                    return conflict("insert");
                }
                StoreItem::Run(run) => {
                    state.runs.insert(run.name.clone(), *run);
                }
                StoreItem::Seat { class, seat } => {
                    let held = (class, seat);
                    if !state.seats.contains(&held) {
                        state.seats.push(held);
                    }
                }
                StoreItem::Pause(pause) => {
                    state.pauses.retain(|held| held.class != pause.class);
                    state.pauses.push(pause);
                    state.pauses.sort_by(|a, b| a.class.cmp(&b.class));
                }
                StoreItem::Usage(used) => {
                    *state.usage.entry(used.key).or_default() += used.amount;
                }
                StoreItem::Delivery(item) => {
                    state.inbox.insert(item.key.clone(), item);
                }
            }
        }
        Ok(())
    }
}
