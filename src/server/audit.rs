//! The audit log: one line for each change that somebody asks for, with the target `audit`.

use tinqs_ci_reconciler::text::cut;

/// A change under way; its line is written when it ends, also if its caller has gone.
pub(super) struct Change {
    who: String,
    from: String,
    what: String,
    result: Option<u16>,
}

impl Change {
    /// Begins a change that `who` asks for at `from`.
    pub(super) fn begin(who: &str, from: &str, what: &str) -> Self {
        let (who, from) = (who.to_owned(), from.to_owned());
        Self { who, from, what: cut(what, 300), result: None }
    }

    /// Ends it with this HTTP status.
    pub(super) fn end(mut self, status: u16) {
        self.result = Some(status);
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        let result = match self.result {
            // A form of the page leads to another screen when it is done.
            Some(200..=399) => "done",
            Some(400..=499) => "refused",
            Some(_) => "failed",
            // The connection ended before the answer: the change may have happened.
            None => "unknown",
        };
        let Self { who, from, what, result: status } = self;
        tracing::info!(
            target: "audit",
            who,
            from,
            what,
            result,
            status,
            "change requested",
        );
    }
}
