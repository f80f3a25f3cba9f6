//! The inbox with a span for each call.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tinqs_ci_reconciler::ports::{Inbox, InboxItem, PortError};

use super::call;

/// Decorates the inbox, which is no port of the controller.
pub fn inbox(inner: Arc<dyn Inbox>) -> Arc<dyn Inbox> {
    Arc::new(Traced(inner))
}

struct Traced(Arc<dyn Inbox>);

#[async_trait]
impl Inbox for Traced {
    async fn take_in(&self, item: &InboxItem) -> Result<bool, PortError> {
        call("inbox", "take_in", self.0.take_in(item)).await
    }
    async fn oldest(&self, after: &str, most: usize) -> Result<Vec<InboxItem>, PortError> {
        call("inbox", "oldest", self.0.oldest(after, most)).await
    }
    async fn take_out(&self, key: &str) -> Result<(), PortError> {
        call("inbox", "take_out", self.0.take_out(key)).await
    }
    async fn writable(&self, holder: &str, now: Timestamp) -> Result<(), PortError> {
        call("inbox", "writable", self.0.writable(holder, now)).await
    }
}
