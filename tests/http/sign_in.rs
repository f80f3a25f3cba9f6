//! Browsers: one-time addresses, the cookie, and changes by it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tinqs_ci::server::Role;
use tinqs_ci::server::http::Deadlines;
use tinqs_ci::settings::{Right, Settings};
use tinqs_ci_reconciler::model::About;
use tinqs_ci_testing::TestWorld;

use crate::asking::{Answer, TOKEN, TestServer, settings, token};
use crate::world::add_run;

pub(crate) const READS: &str = "reads-canary-66dd-0123";
pub(crate) const HTML: (&str, &str) = ("accept", "text/html");
pub(crate) const NONE: (&str, &str) = ("authorization", "");
/// The header that a browser adds to a request that a page of this server makes it send.
pub(crate) const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

pub(crate) fn two_tokens() -> Settings {
    let mut settings = settings();
    settings.server.tokens.push(token("dashboard", READS, Right::Read));
    settings
}

/// A server whose clock stands still.
fn standing() -> TestServer {
    TestServer::over(TestWorld::new(), two_tokens(), Role::All, true, Deadlines::default())
}

fn advance(world: &Arc<TestWorld>, by: SignedDuration) {
    world.state().now += by;
}

/// Returns the path of a one-time address for the holder of this token.
async fn opened(server: &TestServer, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    server.ask("POST", "/v1/sign-in", &[("authorization", &bearer)], Body::empty()).await
}

async fn code(server: &TestServer, token: &str) -> String {
    let path = opened(server, token).await.json()["path"].clone();
    path.as_str().and_then(|path| path.strip_prefix("/sign-in?code=")).expect("a code").to_owned()
}

async fn submit(server: &TestServer, form: String, more: &[(&str, &str)]) -> Answer {
    let headers = [&[HTML, NONE, FORM], more].concat();
    server.ask("POST", "/sign-in", &headers, form).await
}

/// Signs in, and returns the cookie.
pub(crate) async fn signed_in(server: &TestServer, token: &str) -> String {
    let code = code(server, token).await;
    let answer = submit(server, format!("code={code}"), &[OWN]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    let cookie = answer.header("set-cookie");
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
    cookie.split(';').next().expect("a pair").to_owned()
}

async fn with(server: &TestServer, method: &str, path: &str, cookie: &str) -> Answer {
    server.ask(method, path, &[NONE, OWN, ("cookie", cookie)], Body::empty()).await
}

#[tokio::test]
async fn a_one_time_address_signs_in_once_as_its_caller() {
    let server = TestServer::new(two_tokens());
    for (secret, who, may) in [(TOKEN, "ops", "operate"), (READS, "dashboard", "read")] {
        let made = opened(&server, secret).await.json();
        assert_eq!((&made["who"], &made["may"]), (&json!(who), &json!(may)));
        let path = made["path"].as_str().expect("a path");
        // Loading it, as a preview does, does not use it.
        for _ in 0..2 {
            let page = server.ask("GET", path, &[HTML, NONE], Body::empty()).await;
            assert_eq!(page.status, StatusCode::OK, "{page:?}");
            assert!(
                page.text.contains(&format!("<strong>{who}</strong>, who may {may}")),
                "{page:?}"
            );
            assert_eq!(page.header("referrer-policy"), "same-origin");
            assert_eq!(page.header("set-cookie"), "");
        }
        let code = path.strip_prefix("/sign-in?code=").expect("a code");
        let first = submit(&server, format!("code={code}"), &[OWN]).await;
        assert_eq!((first.status, first.header("location")), (StatusCode::SEE_OTHER, "/"));
        let again = submit(&server, format!("code={code}"), &[OWN]).await;
        assert_eq!(again.status, StatusCode::UNAUTHORIZED, "{again:?}");
        assert!(again.text.contains("was used already, or has expired"), "{}", again.text);
        let shown = server.ask("GET", path, &[HTML, NONE], Body::empty()).await;
        assert_eq!(shown.status, StatusCode::UNAUTHORIZED, "the page says so before the button");
        let cookie = first.header("set-cookie").split(';').next().unwrap_or_default();
        let page = server.ask("GET", "/", &[HTML, NONE, ("cookie", cookie)], Body::empty()).await;
        assert!(page.text.contains(&format!("{who} may {may}")), "{}", page.text);
        assert!(page.text.contains("action=\"/sign-out\""), "{}", page.text);
        assert_eq!(with(&server, "GET", "/v1/status", cookie).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn no_caller_without_a_token_of_its_own_makes_an_address() {
    let server = TestServer::new(two_tokens());
    let cookie = signed_in(&server, TOKEN).await;
    let answer = with(&server, "POST", "/v1/sign-in", &cookie).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "a session does not prolong itself");
    assert_eq!(opened(&server, "wrong").await.status, StatusCode::UNAUTHORIZED);
    let get = server.get("/v1/sign-in").await;
    assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn addresses_and_sessions_expire() {
    let server = standing();
    let late = code(&server, TOKEN).await;
    let other = code(&server, TOKEN).await;
    assert_ne!(late, other, "each address is another one");
    let cookie = signed_in(&server, TOKEN).await;
    advance(&server.world, SignedDuration::from_secs(121));
    let answer = submit(&server, format!("code={late}"), &[OWN]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "after two minutes");
    assert_eq!(with(&server, "GET", "/v1/runs", &cookie).await.status, StatusCode::OK);
    advance(&server.world, SignedDuration::from_hours(12));
    let answer = with(&server, "GET", "/v1/runs", &cookie).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "after twelve hours");
}

#[tokio::test]
async fn a_session_holds_on_every_replica_and_dies_with_its_token() {
    let server = TestServer::new(two_tokens());
    let code = code(&server, READS).await;
    let replica = server.beside(two_tokens(), "replica-2");
    let answer = submit(&replica, format!("code={code}"), &[OWN]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "an address of another replica");
    let cookie = answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    for at in [&server, &replica] {
        assert_eq!(with(at, "GET", "/v1/runs", &cookie).await.status, StatusCode::OK);
    }
    let mut replaced = settings();
    replaced.server.tokens.push(token("dashboard", "another-secret-0123456789", Right::Read));
    for (settings, why) in [(settings(), "revoked"), (replaced, "replaced")] {
        let after = server.beside(settings, "replica-3");
        let answer = with(&after, "GET", "/v1/runs", &cookie).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{why}");
    }
}

#[tokio::test]
async fn no_changed_cookie_is_accepted() {
    let server = TestServer::new(two_tokens());
    let cookie = signed_in(&server, READS).await;
    let value = cookie.strip_prefix("tinqs-ci.test=").expect("its name");
    let forged = value.rsplit_once(':').expect("a signature").0;
    let code = code(&server, READS).await;
    for (value, why) in [
        (value.replacen("dashboard", "ops", 1), "another token's name"),
        (value.replacen("dashboard::", "dashboard:0:", 1), "another user"),
        (format!("{forged}:{}", "0".repeat(64)), "a forged signature"),
        (forged.to_owned(), "no signature"),
        (value[..value.len() - 1].to_owned(), "cut"),
        (value[1..].to_owned(), "cut at the front"),
        (code, "the code of an address"),
        ("x".repeat(4_000), "nonsense"),
        (String::new(), "empty"),
    ] {
        let cookie = format!("tinqs-ci.test={value}");
        let answer = with(&server, "GET", "/v1/runs", &cookie).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{why}");
        let page = server.ask("GET", "/", &[HTML, NONE, ("cookie", &cookie)], Body::empty()).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{why}");
        assert!(page.text.contains("<h1>Sign in</h1>"), "{why}: {}", page.text);
    }
    let other = format!("tinqs-ci.other={value}");
    let answer = with(&server, "GET", "/v1/runs", &other).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "of another installation");
}

#[tokio::test]
async fn a_change_by_a_session_must_come_from_the_page_of_this_server() {
    let server = TestServer::new(two_tokens());
    let cookie = signed_in(&server, TOKEN).await;
    let pause = async |more: &[(&str, &str)]| {
        let headers = [&[NONE, ("cookie", cookie.as_str())], more].concat();
        server.ask("POST", "/v1/pause", &headers, Body::empty()).await
    };
    for foreign in [
        &[][..],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:8080")],
        &[("origin", "http://127.0.0.1:9999")],
        &[("origin", "null")],
    ] {
        let answer = pause(foreign).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{foreign:?}");
        assert!(answer.text.contains("does not come from the page of this server"), "{answer:?}");
    }
    assert_eq!(server.world.state().pauses, []);
    let answer = pause(&[("origin", "http://127.0.0.1:8080")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json()["pauses"][0]["by"], "ops");
    assert_eq!(pause(&[OWN]).await.status, StatusCode::OK);
    // A program's token needs none of this, and a session that may read changes nothing.
    let answer = server.ask("POST", "/v1/resume", &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let reads = signed_in(&server, READS).await;
    let answer = with(&server, "POST", "/v1/pause", &reads).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text.contains("may only read"), "{answer:?}");
    // The sweep of a schedule needs a program's token.
    let answer = with(&server, "POST", "/", &cookie).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_signs_in_and_leads_to_the_screen_that_was_asked_for() {
    let server = TestServer::new(two_tokens());
    let asked = server.ask("GET", "/runs?text=a&class=b", &[HTML, NONE], Body::empty()).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert!(asked.header("www-authenticate").starts_with("Bearer "), "no browser asks for it");
    assert!(
        asked.text.contains("name=\"to\" value=\"/runs?text=a&amp;class=b\""),
        "{}",
        asked.text
    );
    let own = [OWN];
    let form = format!("token={READS}&to=%2Fruns%3Ftext%3Da%26class%3Db");
    let answer = submit(&server, form, &own).await;
    let to = answer.header("location");
    assert_eq!((answer.status, to), (StatusCode::SEE_OTHER, "/runs?text=a&class=b"));
    let away = submit(&server, format!("token={READS}&to=%2F%2Fevil.example"), &own).await;
    assert_eq!(away.header("location"), "/");
    for form in ["token=wrong", "token=", "code=", "", "code=x&token=y"] {
        let refused = submit(&server, form.to_owned(), &own).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{form}");
        assert_eq!(refused.header("set-cookie"), "", "{form}");
    }
    let huge = submit(&server, format!("token={}", "x".repeat(10_000)), &own).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
    let foreign = submit(&server, format!("token={READS}"), &[("sec-fetch-site", "cross-site")]);
    assert_eq!(foreign.await.status, StatusCode::FORBIDDEN, "nobody is signed in by another site");
}

#[tokio::test]
async fn under_tls_the_cookie_is_for_tls_alone() {
    let server = TestServer::new(two_tokens());
    let host = ("host", "ci.example.com");
    let origin = ("origin", "https://ci.example.com");
    let answer = submit(&server, format!("token={READS}"), &[host, origin]).await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-tinqs-ci.test="), "{cookie}");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap_or_default();
    assert_eq!(with(&server, "GET", "/v1/runs", pair).await.status, StatusCode::OK);
}

#[tokio::test]
async fn signing_out_removes_the_cookie() {
    let server = TestServer::new(two_tokens());
    let cookie = signed_in(&server, TOKEN).await;
    let headers = [NONE, HTML, ("cookie", cookie.as_str())];
    let foreign = server.ask("POST", "/sign-out", &headers, Body::empty()).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let out = with(&server, "POST", "/sign-out", &cookie).await;
    assert_eq!((out.status, out.header("location")), (StatusCode::SEE_OTHER, "/sign-in"));
    let removed: Vec<_> = out.headers.get_all("set-cookie").iter().collect();
    assert_eq!(removed.len(), 2, "{removed:?}");
    assert!(
        removed[1].to_str().is_ok_and(|set| set.starts_with("tinqs-ci.test=; Path=/; Max-Age=0;"))
    );
}

#[tokio::test]
async fn the_events_of_a_run_name_the_token_that_changed_it() {
    let server = TestServer::new(two_tokens());
    add_run(&server.world, 7, About::default());
    let cookie = signed_in(&server, TOKEN).await;
    with(&server, "POST", "/v1/runs/job-7/retry", &cookie).await;
    server.ask("DELETE", "/v1/runs/job-7", &[], Body::empty()).await;
    let told = |events: &Value| {
        let items = events["items"].as_array().expect("a list").clone();
        let pair = |event: &Value| (event["reason"].clone(), event["by"].clone());
        items.iter().map(pair).filter(|(_, by)| !by.is_null()).collect::<Vec<_>>()
    };
    let expected = [(json!("Retried"), json!("ops")), (json!("Deleted"), json!("ops"))];
    let at = server.get("/v1/events?run=job-7").await.json();
    assert_eq!(told(&at), expected);
    assert_eq!(at["items"][1]["message"], "ops retried the run");
    // Another replica reads it in the record.
    let replica = server.beside(two_tokens(), "replica-2");
    assert_eq!(told(&replica.get("/v1/events?run=job-7").await.json()), expected);
}
