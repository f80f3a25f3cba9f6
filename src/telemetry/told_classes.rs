//! Classes of which a condition was told: its begin and its end are each told once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::ClassName;

/// The time at which the condition began, for each class of which this process told it.
#[derive(Default)]
pub struct ToldClasses(Mutex<BTreeMap<ClassName, Timestamp>>);

impl ToldClasses {
    /// Forgets the classes of which the condition no longer holds. Returns them, with the time since
    /// when it held.
    pub(super) fn ended<T>(&self, holds: &[(ClassName, T)]) -> Vec<(ClassName, Timestamp)> {
        let mut told = self.0.lock();
        told.extract_if(.., |class, _| holds.iter().all(|(open, _)| open != class)).collect()
    }

    /// Notes that the condition holds of a class. Returns whether that is to be told.
    pub(super) fn begins(&self, class: &ClassName, since: Timestamp) -> bool {
        let mut told = self.0.lock();
        let is_new = !told.contains_key(class);
        if is_new {
            told.insert(class.clone(), since);
        }
        is_new
    }
}
