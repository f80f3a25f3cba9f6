//! An installation on one host is removed as `docs/how-to/uninstall.md` says: nothing stays at the
//! forge but what the page names, and nothing on the host.

use tinqs_ci_reconciler::model::Conclusion;
use tinqs_ci_simulator::forge::Status;

use crate::book::block;
use crate::play::{host, play};

const PAGE: &str = "docs/how-to/uninstall.md";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_removed_and_leaves_nothing_at_the_forge() {
    let mut host = host();
    host.start().await;
    let job = host.push(1, &["linux"], &host.until_released())[0];
    host.until("the job runs", 60, async |host| host.status(job) == Status::Running).await;
    assert_eq!(host.wire.hooks().len(), 1, "the forge has the webhook");

    play(&host, &block(PAGE, "tinqs-ci pause"), &[], "");
    assert!(host.wire.hooks().is_empty(), "the webhook is removed");
    host.release_jobs();
    host.all_done(&[job], 60).await;
    assert_eq!(host.status(job), Status::Done(Conclusion::Success), "what runs is not touched");
    host.settles(90).await;
    let told = host.run(&["get", "registrations", "-o", "name"]);
    assert_eq!((told.status.code(), told.stdout.len()), (Some(0), 0), "{told:?}");
    host.stop().await;

    play(&host, &block(PAGE, "rm -r data "), &[], "");
    let names = ["data", "tinqs-ci.toml", "tinqs-ci.token", "tinqs-ci.webhook-secret"];
    let left: Vec<_> = names.iter().filter(|name| host.dir.path().join(name).exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(host.processes().is_empty() && host.forge().runners().count() == 0);
}
