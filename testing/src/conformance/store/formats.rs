//! Records of later releases.

use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{RecordFormats, Run, decode, encode};
use tinqs_ci_reconciler::ports::{ErrorKind, Expect, Filter, RunStore};

use super::{kind, opened, paged};
use crate::make::{at, attempt, finished, run};

pub(super) async fn all(store: &dyn RunStore) {
    unknown_fields_survive_a_rewrite(store).await;
    a_record_of_a_newer_format_is_left_alone(store).await;
}

fn stored(run: &Run) -> Value {
    serde_json::from_slice(&encode(run)).unwrap()
}

/// Returns the same run as a later release would write it.
fn of_later_release(run: &Run) -> Run {
    let mut body = stored(run);
    body["format"] = RecordFormats::OWN.reads.into();
    body["owner"] = json!({"team": "SECRET"});
    body["spec"]["priority"] = 5.into();
    let status = &mut body["status"];
    status["conditions"] =
        json!([{"reason": "Quarantined", "since": at(1), "message": "m", "by": "policy"}]);
    status["attempt"]["zone"] = "a".into();
    status["attempt"]["runner"]["group"] = 7.into();
    status["attempt"]["placements"][0]["rack"] = "r1".into();
    status["timeline"][0]["seen_from"] = "north".into();
    decode(body.to_string().as_bytes()).unwrap()
}

/// Takes a field out, and returns it.
fn take(value: &mut Value, pointer: &str) -> Value {
    value.pointer_mut(pointer).map(Value::take).unwrap_or_default()
}

async fn unknown_fields_survive_a_rewrite(store: &dyn RunStore) {
    let mut run = run(2_000, "o/later");
    run.status.attempt = Some(attempt(&run.attempt_id(1), "linux", 1, at(9_000)));
    let later = of_later_release(&run);
    assert_eq!(store.put(&later, Expect::Absent).await.unwrap(), 1);
    let mut kept = store.get(&run.name).await.unwrap().expect("just written");
    assert_eq!(kept, Run { version: 1, ..later });
    assert_eq!(kept.status.conditions[0].reason.as_str(), "Other");
    let shown = format!("{kept:?} {}", serde_json::to_string(&kept).unwrap());
    assert!(!shown.contains("SECRET"), "{shown}");

    // This release writes it in its own format.
    kept.format = RecordFormats::OWN.writes;
    kept.status.failures = 3;
    assert_eq!(store.put(&kept, Expect::At(kept.uid, 1)).await.unwrap(), 2);
    let again = store.get(&run.name).await.unwrap().expect("still there");
    assert_eq!((again.status.failures, again.format), (3, RecordFormats::OWN.writes));
    let mut body = stored(&again);
    for (pointer, value) in [
        ("/owner/team", json!("SECRET")),
        ("/spec/priority", json!(5)),
        ("/status/conditions/0/reason", json!("Quarantined")),
        ("/status/conditions/0/by", json!("policy")),
        ("/status/attempt/zone", json!("a")),
        ("/status/attempt/runner/group", json!(7)),
        ("/status/attempt/placements/0/rack", json!("r1")),
        ("/status/timeline/0/seen_from", json!("north")),
    ] {
        assert_eq!(take(&mut body, pointer), value, "{pointer}");
    }

    // What was recorded about an attempt is not about the next one.
    let mut next = again;
    next.status.attempt = Some(attempt(&next.attempt_id(2), "linux", 1, at(9_000)));
    assert_eq!(store.put(&next, Expect::At(next.uid, 2)).await.unwrap(), 3);
    let next = store.get(&run.name).await.unwrap().expect("still there");
    let body = stored(&next);
    assert_eq!(body["owner"]["team"], "SECRET");
    assert!(body["status"]["attempt"].get("zone").is_none(), "{body}");
    store.remove(&run.name, run.uid, 3).await.unwrap();
}

async fn a_record_of_a_newer_format_is_left_alone(store: &dyn RunStore) {
    let good = run(2_100, "o/newer");
    let newer = Run { format: 99, ..run(2_101, "o/newer") };
    let over = Run { format: 99, ..finished(run(2_102, "o/newer"), at(3_000)) };
    for run in [&good, &newer, &over] {
        assert_eq!(store.put(run, Expect::Absent).await.unwrap(), 1);
    }
    for name in [&newer.name, &over.name] {
        let refused = store.get(name).await.expect_err("it cannot be read");
        assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
        assert!(refused.message.contains("format 99"), "{refused}");
    }
    // It is neither listed nor created again.
    opened(store, "o/newer", at(100_000), &[&good]).await;
    let filter = Filter { repo: Some("o/newer".to_owned()), limit: 10, ..Filter::default() };
    paged(store, &filter, &[good.name.to_string()]).await;
    let again = run(2_101, "o/newer");
    assert_eq!(kind(store.put(&again, Expect::Absent).await), ErrorKind::Conflict);
    store.remove(&good.name, good.uid, 1).await.unwrap();
}
