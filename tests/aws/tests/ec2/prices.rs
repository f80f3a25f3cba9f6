//! Prices of pools: read together with those for costs, and kept for a while.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tinqs_ci_aws::ec2::Machines;
use tinqs_ci_reconciler::model::{MachineSpec, MicroUsd};
use tinqs_ci_reconciler::ports::Compute as _;
use tinqs_ci_simulator::aws_wire::When;

use super::cloud::{INSTALLATION, UNPACED, clients, is_clean, recipe, wire};
use super::lists::Moved;
use super::{error, rule};

const PRICES: &str = "DescribeSpotPriceHistory";
const ZONES: &str = "DescribeSubnets";

fn pool(kind: &str, subnet: &str) -> MachineSpec {
    MachineSpec { kind: kind.to_owned(), subnet: subnet.to_owned(), ..recipe() }
}

fn known(micros: &[u64]) -> Vec<Option<MicroUsd>> {
    micros.iter().map(|micros| (*micros > 0).then_some(MicroUsd(*micros))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_costs_what_its_kind_costs_in_its_zone() {
    let wire = wire(|_| {});
    wire.set_spot_price("c7a.medium", "us-east-1b", 0.0101);
    let machines = Machines::new(
        clients(&wire.url()).await,
        INSTALLATION,
        Arc::new(Moved::default()),
        UNPACED,
    );
    let pools = [
        pool("c7a.medium", "subnet-a"),
        pool("c7a.medium", "subnet-b"),
        pool("t3.small", "subnet-a2"),
        pool("t3.small", "subnet-gone"),
    ];
    let expected = known(&[20_000, 10_100, 7_500, 0]);
    // Many ask at once, and again: EC2 is asked once for prices, and once for zones.
    let (one, other) = tokio::join!(machines.pool_prices(&pools), machines.pool_prices(&pools));
    assert_eq!((one, other), (expected.clone(), expected.clone()));
    assert_eq!(machines.pool_prices(&pools[..2]).await, expected[..2]);
    let zones = ["us-east-1a", "us-east-1b", "us-east-1a", ""];
    let zones = zones.map(|zone| Some(zone.to_owned()).filter(|zone| !zone.is_empty()));
    assert_eq!(machines.zones(&pools).await, zones, "those of the same reading");
    assert_eq!((wire.ledger().count(PRICES), wire.ledger().count(ZONES)), (1, 1));
    // The costs of machines use the same reading.
    machines.read_prices(&["c7a.medium".to_owned()]).await;
    assert_eq!(machines.spot_price("c7a.medium", "us-east-1b"), Some(MicroUsd(10_100)));
    assert_eq!(wire.ledger().count(PRICES), 1);
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prices_are_read_every_ten_minutes_and_order_nothing_after_an_hour() {
    let wire = wire(|_| {});
    let clock = Arc::new(Moved::default());
    let machines = Machines::new(clients(&wire.url()).await, INSTALLATION, clock.clone(), UNPACED);
    let pools = [pool("c7a.medium", "subnet-a")];
    let later = |minutes: i64| clock.0.fetch_add(minutes * 60, Ordering::SeqCst);
    let read = || wire.ledger().count(PRICES);
    assert_eq!(machines.pool_prices(&pools).await, known(&[20_000]));
    wire.set_spot_price("c7a.medium", "us-east-1a", 0.03);
    later(9);
    assert_eq!((machines.pool_prices(&pools).await, read()), (known(&[20_000]), 1));
    later(1);
    assert_eq!((machines.pool_prices(&pools).await, read()), (known(&[30_000]), 2));
    // Another kind is read with those before, and the interval begins again.
    machines.read_prices(&["t3.small".to_owned()]).await;
    later(9);
    assert_eq!((machines.pool_prices(&pools).await, read()), (known(&[30_000]), 3));

    // Without an answer the last one counts, and nobody asks again for five minutes.
    rule(&wire, PRICES, When::Always, error("UnauthorizedOperation", 403));
    later(1);
    assert_eq!((machines.pool_prices(&pools).await, read()), (known(&[30_000]), 4));
    later(4);
    assert_eq!((machines.pool_prices(&pools).await, read()), (known(&[30_000]), 4));
    later(1);
    assert_eq!((machines.pool_prices(&pools).await, read()), (known(&[30_000]), 5));
    later(45);
    assert_eq!(machines.pool_prices(&pools).await, known(&[0]), "too old");
    assert_eq!(machines.spot_price("c7a.medium", "us-east-1a"), Some(MicroUsd(30_000)));
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_zones_no_price_is_known() {
    let wire = wire(|_| {});
    let clock = Arc::new(Moved::default());
    let machines = Machines::new(clients(&wire.url()).await, INSTALLATION, clock.clone(), UNPACED);
    let pools = [pool("c7a.medium", "subnet-a")];
    rule(&wire, ZONES, When::First(1), error("UnauthorizedOperation", 403));
    assert_eq!(machines.pool_prices(&pools).await, known(&[0]));
    assert_eq!(machines.pool_prices(&pools).await, known(&[0]));
    assert_eq!(machines.zones(&pools).await, [None]);
    assert_eq!(wire.ledger().count(ZONES), 1, "not asked again at once");
    clock.0.fetch_add(300, Ordering::SeqCst);
    assert_eq!(machines.pool_prices(&pools).await, known(&[20_000]));
    is_clean(&wire);
}
