//! The laws of an `Inbox`.

use jiff::Timestamp;
use tinqs_ci_reconciler::ports::{Inbox, InboxItem};

use crate::make::{at, until};

fn item(received_at: Timestamp, digest: &str) -> InboxItem {
    InboxItem::new(received_at, digest, format!("{{\"of\":\"{digest}\"}}").into_bytes())
}

/// Waits until the oldest items behind a key are these: the list may lag.
async fn oldest(inbox: &dyn Inbox, after: &str, most: usize, expected: &[&InboxItem]) {
    let expected: Vec<_> = expected.iter().map(|item| (*item).clone()).collect();
    until("the oldest are these", async || {
        (inbox.oldest(after, most).await.expect("read") == expected).then_some(())
    })
    .await;
}

/// Asserts every law over an inbox that is empty.
pub async fn all(inbox: &dyn Inbox) {
    let (later, sooner) = (item(at(20), "a"), item(at(10), "b"));
    // The checks are in no list.
    for holder in ["one", "two", "one"] {
        inbox.writable(holder, at(1)).await.expect("written");
    }
    for item in [&later, &sooner, &later] {
        assert!(inbox.take_in(item).await.expect("written"));
    }
    // Items come in their order, the same delivery once.
    oldest(inbox, "", 10, &[&sooner, &later]).await;
    oldest(inbox, "", 1, &[&sooner]).await;
    oldest(inbox, &sooner.key, 9, &[&later]).await;
    oldest(inbox, &later.key, 9, &[]).await;
    inbox.take_out(&sooner.key).await.expect("written");
    inbox.take_out(&sooner.key).await.expect("gone is success");
    // The key of an item that was taken out is still a place to go on from.
    oldest(inbox, &sooner.key, 9, &[&later]).await;
    oldest(inbox, "", 10, &[&later]).await;
    inbox.take_out(&later.key).await.expect("written");
    oldest(inbox, "", 10, &[]).await;

    let many: Vec<InboxItem> = (0..130).map(|n| item(at(100 + n), "m")).collect();
    for item in &many {
        assert!(inbox.take_in(item).await.expect("written"));
    }
    oldest(inbox, "", 125, &many.iter().take(125).collect::<Vec<_>>()).await;
    oldest(inbox, &many[99].key, 125, &many.iter().skip(100).collect::<Vec<_>>()).await;
}
