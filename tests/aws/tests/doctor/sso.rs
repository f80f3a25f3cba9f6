//! Credentials of `aws sso login`.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::credentials::{found, unset};
use super::place::{Place, Report};

/// The file of the session `ci`: its name is the SHA-1 of that name.
const SESSION: &str = "sso/cache/5a4fe08359c7f97380e408c717ef42c86939cd86.json";
const TOKEN: &str = "canary-of-the-session";
const RENEWED: &str = "canary-of-the-renewed-session";

/// IAM Identity Center on loopback, which stops on drop.
struct Portal {
    url: String,
    /// The tokens that credentials were asked for with.
    tokens: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Portal {
    async fn start() -> Self {
        let tokens = Arc::new(Mutex::new(Vec::new()));
        let noted = tokens.clone();
        let credentials = move |headers: HeaderMap| {
            let noted = noted.clone();
            async move { credentials(&headers, &noted) }
        };
        let routes = Router::new()
            .route("/federation/credentials", get(credentials))
            .route("/token", post(renewed));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let serving = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("it serves");
        });
        Self { url, tokens, serving }
    }

    /// Runs `doctor` with a session that ends after this time, and can be renewed or not.
    async fn doctor(&self, place: &Place, ends_in: SignedDuration, renewable: bool) -> Report {
        place.configure_aws(
            "[profile ci]\nsso_session = ci\nsso_account_id = 123456789012\n\
             sso_role_name = machines\n[sso-session ci]\nsso_region = us-east-1\n\
             sso_start_url = https://ci.example.com/start\n",
        );
        let mut session = json!({
            "accessToken": TOKEN,
            "expiresAt": seconds(Timestamp::now() + ends_in),
            "region": "us-east-1",
            "startUrl": "https://ci.example.com/start",
        });
        if renewable {
            session["clientId"] = "client".into();
            session["clientSecret"] = "canary-of-the-client".into();
            session["refreshToken"] = "canary-of-the-refresh-token".into();
            let registered = Timestamp::now() + SignedDuration::from_hours(24);
            session["registrationExpiresAt"] = seconds(registered).into();
        }
        place.write_aws(SESSION, &session.to_string());
        let mut variables = unset();
        variables.push(("AWS_PROFILE", "ci".to_owned()));
        variables.push(("AWS_ENDPOINT_URL_SSO", self.url.clone()));
        variables.push(("AWS_ENDPOINT_URL_SSO_OIDC", self.url.clone()));
        let report = place.doctor(&variables).await;
        let said = format!("{report:?}");
        assert!(!said.contains("canary"), "{said}");
        report
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Gives credentials for a token that is known, and notes the token.
fn credentials(headers: &HeaderMap, noted: &Mutex<Vec<String>>) -> (StatusCode, Json<Value>) {
    let token = headers.get("x-amz-sso_bearer_token").and_then(|token| token.to_str().ok());
    let token = token.unwrap_or_default().to_owned();
    let is_known = [TOKEN, RENEWED].contains(&token.as_str());
    noted.lock().push(token);
    if !is_known {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "message": "unknown session" })));
    }
    let expiration = (Timestamp::now() + SignedDuration::from_hours(1)).as_millisecond();
    let credentials = json!({
        "accessKeyId": "AKIDSSO",
        "secretAccessKey": "canary-of-the-secret-key",
        "sessionToken": "canary-of-the-session-token",
        "expiration": expiration,
    });
    (StatusCode::OK, Json(json!({ "roleCredentials": credentials })))
}

/// Renews a session.
async fn renewed() -> Json<Value> {
    Json(json!({ "accessToken": RENEWED, "tokenType": "Bearer", "expiresIn": 28_800 }))
}

/// Returns the time as the command line of AWS writes it.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

const ORIGIN: &str = "of profile ci, by aws sso login";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_gives_credentials() {
    let (place, portal) = (Place::new().await, Portal::start().await);
    let report = portal.doctor(&place, SignedDuration::from_hours(2), false).await;
    found(&report, "user/AKIDSSO", ORIGIN);
    assert!(portal.tokens.lock().iter().all(|token| token == TOKEN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_ended_is_renewed() {
    let (place, portal) = (Place::new().await, Portal::start().await);
    let report = portal.doctor(&place, SignedDuration::from_hours(-1), true).await;
    found(&report, "user/AKIDSSO", ORIGIN);
    assert!(portal.tokens.lock().iter().all(|token| token == RENEWED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_cannot_be_renewed_names_the_remedy() {
    let (place, portal) = (Place::new().await, Portal::start().await);
    let report = portal.doctor(&place, SignedDuration::from_hours(-1), false).await;
    let check = report.one("aws");
    assert_eq!(check.status, "fail", "{report:#?}");
    assert!(check.message.contains("expired"), "{report:#?}");
    assert!(check.fix.contains("aws sso login"), "{report:#?}");
    assert_eq!(*portal.tokens.lock(), Vec::<String>::new());
}
