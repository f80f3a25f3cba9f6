//! The phases of a reconcile, whose ends only its decisions show.

use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use parking_lot::Mutex;

use super::Engine;

/// The span of a reconcile, and that of its phase.
pub(super) struct Phases {
    pub(super) reconcile: Context,
    /// `None` between a decision and the first call after it.
    phase: Mutex<Option<Context>>,
}

impl Phases {
    /// Begins with `observe`.
    pub(super) fn observing(engine: &Engine, reconcile: Context) -> Self {
        let observe = engine.span("observe", SpanKind::Internal, &reconcile, None);
        Self { reconcile, phase: Mutex::new(Some(observe)) }
    }

    /// Begins `act`, unless a phase is in progress.
    pub(super) fn act(&self, engine: &Engine) {
        self.current(engine);
    }

    /// Returns the context of the phase. What happens after a decision is part of `act`.
    pub(super) fn current(&self, engine: &Engine) -> Context {
        let mut phase = self.phase.lock();
        let begin = || engine.span("act", SpanKind::Internal, &self.reconcile, None);
        phase.get_or_insert_with(begin).clone()
    }

    /// Ends the phase.
    pub(super) fn end(&self) {
        if let Some(phase) = self.phase.lock().take() {
            phase.span().end();
        }
    }
}
