//! Webhook deliveries. Input: `EVENT\nCONTENT-TYPE\nSIGNATURE\nBODY`.

use axum::http::{HeaderMap, HeaderValue};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tinqs_ci_gitea::demand;
use tinqs_ci_gitea::webhook::{Rejected, decode, event_name, payload, verify};
use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::{self, Run, RunName, Secret, SeenBy, Spec};
use tinqs_ci_reconciler::ports::WaitingJob;

const SECRET: &str = "the-webhook-secret";
const HEADERS: [&str; 2] = ["x-gitea-signature", "x-hub-signature-256"];

/// Checks that only deliveries signed with the secret are accepted, that those are decoded or
/// rejected, and that a decoded one fits into a record.
///
/// # Panics
/// Panics if that does not hold.
pub(crate) fn check(data: &[u8]) {
    let (event, rest) = split(data, b'\n');
    let (content_type, rest) = split(rest, b'\n');
    let (claimed, body) = split(rest, b'\n');
    let content_type = std::str::from_utf8(content_type).ok().filter(|text| !text.is_empty());
    let read = payload(content_type, body);
    let secret = Secret::new(SECRET);
    let verified = |headers: &HeaderMap| verify(&secret, headers, content_type, body);

    assert!(verified(&HeaderMap::new()).is_err(), "unsigned");
    if let Ok(claimed) = HeaderValue::from_bytes(claimed) {
        for header in HEADERS {
            let headers =
                HeaderMap::from_iter([(header.parse().expect("a name"), claimed.clone())]);
            assert!(verified(&headers).is_err(), "not signed with the secret");
        }
    }
    let Ok(text) = read else {
        let signed = signed(HEADERS[0], &sign(SECRET, body));
        assert!(matches!(verified(&signed), Err(Rejected::ContentType | Rejected::Form)));
        return;
    };
    let signature = sign(SECRET, &text);
    for header in HEADERS {
        let taken = verified(&signed(header, &signature)).expect("it is signed");
        assert_eq!(taken, text);
        let other = signed(header, &sign("another secret", &text));
        assert_eq!(verified(&other), Err(Rejected::Signature));
        let shorter = signed(header, &signature[..signature.len() - 2]);
        assert_eq!(verified(&shorter), Err(Rejected::Signature));
    }
    let mut more = text.to_vec();
    more.push(b' ');
    assert_eq!(verified(&signed(HEADERS[0], &sign(SECRET, &more))), Err(Rejected::Signature));

    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(event) {
        headers.insert("x-gitea-event", value);
    }
    decoded(event_name(&headers).unwrap_or_default(), &text);
}

fn decoded(event: &str, text: &[u8]) {
    let events = match decode(event, text) {
        Ok(events) => events,
        Err(malformed) => {
            // It goes into the log and to the sender, and must not contain the payload.
            assert!(malformed.to_string().len() < 100);
            return;
        }
    };
    assert!(std::str::from_utf8(text).is_ok(), "text that is not UTF-8 is malformed");
    assert_eq!(decode(event, text).expect("the same again"), events);
    for hint in demand::hints(events, Some(demand::Mode::Jobs)).hints {
        match hint {
            Hint::Queued(WaitingJob { job, runs_on, about, created_at: _ }) => {
                assert!(job.job_id > 0 && job.repo_id > 0, "{job:?}");
                let labels: usize = runs_on.iter().map(String::len).sum();
                assert!(labels <= 16 * 1024, "{labels} bytes of labels");
                let now = jiff::Timestamp::UNIX_EPOCH;
                let spec = Spec { job: job.clone(), runs_on, about, ..Spec::default() };
                let made = Run::new("fuzz", RunName::job(job.job_id), spec, SeenBy::Webhook, now);
                assert_eq!(made.name.as_str().parse::<RunName>().expect("a name"), made.name);
                let stored = model::encode(&made);
                assert!(stored.len() < 64 * 1024, "a record of {} bytes", stored.len());
                assert_eq!(model::decode(&stored).expect("what is stored can be read"), made);
            }
            Hint::Job { job_id, runner: _ } => assert!(job_id > 0),
        }
    }
}

fn sign(secret: &str, text: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("keys of any length");
    mac.update(text);
    hex::encode(mac.finalize().into_bytes())
}

fn signed(header: &str, signature: &str) -> HeaderMap {
    let value =
        if header == HEADERS[0] { signature.to_owned() } else { format!("sha256={signature}") };
    let value = HeaderValue::from_str(&value).expect("hex");
    HeaderMap::from_iter([(header.parse().expect("a name"), value)])
}

/// Splits at the first such byte; without one, the second part is empty.
fn split(data: &[u8], at: u8) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == at) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}
