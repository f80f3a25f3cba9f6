//! `GET /`: one line for people who open an address, and what a replica without the API answers.

use axum::extract::State;
use axum::http::StatusCode;

use super::{Ctx, Refusal};

/// `GET /` at the address of webhooks.
pub(super) async fn of_webhooks() -> &'static str {
    "This address takes the webhooks of tinqs-ci: POST /webhook.\n"
}

/// `GET /` at the address of the API of a replica that has none.
pub(super) async fn of_no_api() -> &'static str {
    "This replica of tinqs-ci has no API: it only takes webhooks.\n"
}

/// `GET /` where one address has everything.
pub(super) async fn of_everything(State(app): Ctx) -> &'static str {
    match (app.role.ingests(), app.role.reconciles()) {
        (true, true) => {
            "tinqs-ci: webhooks go to /webhook, the API is /v1, the state is at /readyz; see \
             `tinqs-ci status`\n"
        }
        (true, false) => {
            "tinqs-ci: webhooks go to /webhook, the state is at /readyz; this replica has no API\n"
        }
        (false, _) => {
            "tinqs-ci: the API is /v1, the state is at /readyz; this replica takes no webhooks; see \
             `tinqs-ci status`\n"
        }
    }
}

/// Any request to `/v1` of a replica with the role `ingest`.
pub(super) async fn no_api() -> Refusal {
    let detail = "this replica has the role `ingest`, which serves no API: ask one that runs with \
                  `--role all` or `--role reconcile`";
    Refusal::new(StatusCode::NOT_FOUND, detail)
}
