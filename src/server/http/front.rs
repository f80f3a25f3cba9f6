//! `GET /`: one line for people who open an address, and what a replica without the API answers.

use axum::http::StatusCode;

use super::Refusal;
use crate::server::state::Role;

/// A function that returns the answer of an address at `/`, by the role of its replica.
pub(super) type Line = fn(Role) -> &'static str;

/// `GET /` at the address of webhooks.
pub(super) async fn of_webhooks() -> &'static str {
    "This address takes the webhooks of tinqs-ci: POST /webhook.\n"
}

/// `GET /` at the address of the API, for a caller that reads no HTML.
pub(super) fn of_api(role: Role) -> &'static str {
    if role.reconciles() {
        "tinqs-ci: this address serves the API, /v1, and a page for browsers, both to holders of a \
         token; `tinqs-ci open` signs a browser in, `tinqs-ci status` says how it is\n"
    } else {
        "This replica of tinqs-ci has no API: it only takes webhooks.\n"
    }
}

/// The same where one address has everything.
pub(super) fn of_everything(role: Role) -> &'static str {
    match (role.ingests(), role.reconciles()) {
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
