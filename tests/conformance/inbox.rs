//! The laws of an `Inbox`.

use jiff::Timestamp;
use tinqs_ci::gitea::demand::inbox::{Inbox, Item};
use tinqs_ci::gitea::demand::occasion::Occasion;

use crate::make::{at, until};

fn item(received_at: Timestamp, git_ref: &str) -> Item {
    let payload = serde_json::json!({
        "ref": git_ref, "before": "1".repeat(40), "after": "2".repeat(40),
        "repository": {"id": 1, "full_name": "a/b"},
    });
    let occasion = Occasion::of("push", payload.to_string().as_bytes());
    Item { received_at, occasion: occasion.expect("well-formed").expect("a push") }
}

/// The oldest behind a key are these; the list may lag.
async fn oldest(inbox: &dyn Inbox, after: &str, most: usize, expected: &[&Item]) {
    let expected: Vec<_> = expected.iter().map(|item| (item.key(), (*item).clone())).collect();
    until("the oldest are these", async || {
        (inbox.oldest(after, most).await.expect("read") == expected).then_some(())
    })
    .await;
}

/// Every law, over an inbox that is empty.
pub(crate) async fn all(inbox: &dyn Inbox) {
    let (later, sooner) = (item(at(20), "refs/heads/a"), item(at(10), "refs/heads/b"));
    for item in [&later, &sooner, &later] {
        assert!(inbox.take_in(item).await.expect("written"));
    }
    // In their order, the same delivery once.
    oldest(inbox, "", 10, &[&sooner, &later]).await;
    oldest(inbox, "", 1, &[&sooner]).await;
    oldest(inbox, &sooner.key(), 9, &[&later]).await;
    oldest(inbox, &later.key(), 9, &[]).await;
    inbox.take_out(&sooner.key()).await.expect("written");
    inbox.take_out(&sooner.key()).await.expect("gone is success");
    // What was taken out is still a place to go on from.
    oldest(inbox, &sooner.key(), 9, &[&later]).await;
    oldest(inbox, "", 10, &[&later]).await;
    inbox.take_out(&later.key()).await.expect("written");
    oldest(inbox, "", 10, &[]).await;

    let many: Vec<Item> = (0..130).map(|n| item(at(100 + n), "refs/heads/m")).collect();
    for item in &many {
        assert!(inbox.take_in(item).await.expect("written"));
    }
    oldest(inbox, "", 125, &many.iter().take(125).collect::<Vec<_>>()).await;
    oldest(inbox, &many[99].key(), 125, &many.iter().skip(100).collect::<Vec<_>>()).await;
}
