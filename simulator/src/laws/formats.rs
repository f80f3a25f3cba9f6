//! The laws of releases side by side: no live replica is left without a record that it must read,
//! none touches one that it cannot read, and what a later release recorded survives.

use jiff::Timestamp;
use serde_json::Value;
use tinqs_ci_reconciler::model::{RecordFormats, Run};

use super::Laws;
use crate::formats::{ADDED, value_of};

impl Laws {
    /// Checks a write by a replica of these formats. `read_by_all`: what all live replicas read.
    pub(crate) fn on_format(
        &mut self,
        now: Timestamp,
        before: Option<&Run>,
        run: &Run,
        writer: RecordFormats,
        read_by_all: u32,
    ) {
        let name = run.name.as_str();
        if run.format > read_by_all {
            let what = format!(
                "{name}: written in format {}, and a live replica reads up to {read_by_all}",
                run.format
            );
            self.broken("formats", now, name, what);
        }
        let Some(before) = before.filter(|before| before.uid == run.uid) else { return };
        if before.format > writer.reads {
            let what = format!("{name}: overwritten by a replica that cannot read it");
            self.broken("formats", now, name, what);
        }
        // A later release knows its own field, and writes it again itself.
        if before.unknown.is_empty() || writer.writes > RecordFormats::FIRST {
            return;
        }
        let (had, has) = (value_of(before), value_of(run));
        let is_lost =
            |had: &Value, has: &Value| had.get(ADDED).is_some() && has.get(ADDED).is_none();
        let attempts = (&had["status"]["attempt"], &has["status"]["attempt"]);
        let same_attempt = attempts.0["number"] == attempts.1["number"];
        if is_lost(&had["status"], &has["status"])
            || same_attempt && is_lost(attempts.0, attempts.1)
        {
            let what = format!("{name}: a field of a later release was lost");
            self.broken("formats", now, name, what);
        }
    }
}
