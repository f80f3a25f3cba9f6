//! Faults between client and server.

use std::time::Duration;

use tinqs_ci_simulator::forge::Line;
use tinqs_ci_simulator::gitea_wire::{Fault, Faults, Mixture};

use super::{RPC, Site};

/// The status, or `None` if the request or its response broke.
async fn version(site: &Site) -> Option<u16> {
    let response =
        site.http.get(format!("{}/api/v1/version", site.wire.url())).send().await.ok()?;
    let status = response.status().as_u16();
    response.text().await.ok().map(|_| status)
}

#[tokio::test]
async fn each_fault_applies_until_it_is_switched_off() {
    let site = Site::new(Line::V1_26);
    assert_eq!(version(&site).await, Some(200));
    let set = |change: fn(&mut Faults)| {
        site.wire.faults(|f| {
            *f = Faults::default();
            change(f);
        });
    };
    set(|f| f.fail_next = 2);
    let three = [version(&site).await, version(&site).await, version(&site).await];
    assert_eq!(three, [Some(503), Some(503), Some(200)]);
    set(|f| f.html_500 = true);
    assert_eq!(version(&site).await, Some(500));
    set(|f| f.reset = true);
    assert_eq!(version(&site).await, None);
    set(|f| f.half_answer = true);
    assert_eq!(version(&site).await, None);
    set(|f| f.down = true);
    assert_eq!(version(&site).await, None);
    set(|f| {
        f.reset = true;
        f.only = Some("/elsewhere".to_owned());
    });
    assert_eq!(version(&site).await, Some(200));
    set(|f| f.delay = Duration::from_millis(300));
    let start = std::time::Instant::now();
    assert_eq!(version(&site).await, Some(200));
    assert!(start.elapsed() >= Duration::from_millis(300));
    for (fault, seen) in [
        (Fault::Delay(Duration::from_millis(5)), Some(200)),
        (Fault::Error, Some(500)),
        (Fault::Unavailable, Some(503)),
        (Fault::Html, Some(500)),
        (Fault::Half, None),
        (Fault::Lost, None),
        (Fault::Reset, None),
    ] {
        let mixture = Some(Mixture::new(1, 100, [fault]));
        site.wire.faults(|f| *f = Faults { mixture, ..Faults::default() });
        assert_eq!(version(&site).await, seen, "{fault:?}");
    }
    set(|_| {});
    assert_eq!(version(&site).await, Some(200));
}

#[tokio::test]
async fn a_cut_response_has_an_effect_and_a_reset_has_none() {
    let site = Site::new(Line::V1_26);
    site.register(&["linux"]).await;
    let rows = || site.wire.forge().runners().count();
    let token = site.post("/api/v1/admin/actions/runners/registration-token", &"".into()).await.1;
    let body = serde_json::json!({"name": "x", "token": token["token"], "ephemeral": true});
    let url = format!("{}{RPC}/Register", site.wire.url());
    let register = || async {
        let response = site.http.post(&url).json(&body).send().await?;
        response.text().await
    };
    site.wire.faults(|f| f.half_answer = true);
    assert!(register().await.is_err());
    assert_eq!(rows(), 2, "the response was lost, but the row exists");
    site.wire.faults(|f| (f.half_answer, f.reset) = (false, true));
    assert!(register().await.is_err());
    assert_eq!(rows(), 2);
    let lost = |fault| Some(Mixture::new(1, 100, [fault]));
    site.wire.faults(|f| (f.reset, f.mixture) = (false, lost(Fault::Lost)));
    assert!(register().await.is_err());
    assert_eq!(rows(), 3, "there was no response, but the row exists");
    site.wire.faults(|f| f.mixture = lost(Fault::Error));
    assert!(register().await.is_ok());
    assert_eq!(rows(), 3, "an error of the server has no effect");
}

#[tokio::test]
async fn a_stopped_server_resumes_on_its_port() {
    let site = Site::new(Line::V1_26);
    assert_eq!(version(&site).await, Some(200));
    site.wire.stop().await;
    assert_eq!(version(&site).await, None);
    site.wire.stop().await;
    site.wire.resume().unwrap();
    assert_eq!(version(&site).await, Some(200));
}
