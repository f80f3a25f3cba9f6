//! The test world is held to the laws of each port, as every adapter is.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_testing::conformance::{archive, compute, inbox, queue, store};
use tinqs_ci_testing::{TestWorld, make};

#[tokio::test]
async fn the_store_of_the_world_keeps_the_laws() {
    let world = TestWorld::new();
    store::all(&*world).await;
    store::expiry(&*world).await;
    let written = store::write_some(&*world).await;
    store::find_them(&*world, &written).await;
    store::many_seats(&*world, 1_000).await;
}

#[tokio::test]
async fn the_inbox_of_the_world_keeps_the_laws() {
    inbox::all(&*TestWorld::new()).await;
}

#[tokio::test]
async fn the_archive_of_the_world_keeps_the_laws() {
    archive::all(&*TestWorld::new(), &*TestWorld::new()).await;
}

#[tokio::test]
async fn the_queue_of_the_world_keeps_the_laws() {
    let world = TestWorld::on_system_clock();
    let again = Duration::from_millis(200);
    world.state().again_after = SignedDuration::from_millis(200);
    queue::all(&*world, again).await;
}

#[tokio::test]
async fn the_machines_of_the_world_keep_the_laws() {
    let world = TestWorld::new();
    world.state().instant_machines = true;
    let printing = make::own_attempt_id(2_300).token(0);
    world.state().logs.insert(printing, b"two\nlines\n".to_vec());
    let deadline: Timestamp = "2026-01-01T18:00:00Z".parse().expect("a timestamp");
    compute::all(&*world, &make::process(), deadline).await;
}
