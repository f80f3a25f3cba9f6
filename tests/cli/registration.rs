//! The registration of runners: what `serve` and `doctor` say about the token's right to it.

use serde_json::json;

use crate::scripted::{Answer, Server};
use crate::tinqs_in;

/// A forge whose token may list everything and register runners in the scope, but in no repository.
fn forge() -> Server {
    Server::new(|asked, _| {
        let lists = |key: &str| Answer(200, None, json!({ key: [], "total_count": 0 }));
        match asked.line.as_str() {
            "GET /api/v1/version" => Answer(200, None, json!({ "version": "1.26.4" })),
            line if line.starts_with("GET /api/v1/admin/actions/jobs") => lists("jobs"),
            line if line.starts_with("GET /api/v1/admin/actions/runners") => lists("runners"),
            line if line.starts_with("GET /api/v1/repos/search") => {
                Answer(200, None, json!({ "data": [{ "id": 1, "full_name": "acme/site" }] }))
            }
            "POST /api/v1/admin/actions/runners/registration-token" => {
                Answer(200, None, json!({ "token": "registration-token" }))
            }
            line if line.starts_with("POST /api/v1/repos/acme/site/") => {
                let message = "token does not have at least one of required scope(s)";
                Answer(403, None, json!({ "message": message }))
            }
            _ => Answer(200, None, json!([])),
        }
    })
}

#[test]
fn serve_does_not_start_with_a_token_that_may_not_register_runners() {
    let folder = tempfile::tempdir().expect("a folder");
    let forge = forge();
    let env = [("GITEA_URL", forge.url.as_str()), ("GITEA_TOKEN", "long-token")];
    let said = tinqs_in(folder.path(), &["serve", "--insecure-root"], &env);
    assert_eq!(said.code, 2, "{}", said.err);
    for part in ["cannot register runners", "write:repository", "forge.register_in"] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    let said = tinqs_in(folder.path(), &["doctor"], &env);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("✗ token: registration"), "{}", said.out);
    assert!(said.out.contains("fix: use a token with write:repository"), "{}", said.out);
}

#[test]
fn doctor_warns_that_any_repository_in_scope_can_take_the_machines() {
    let folder = tempfile::tempdir().expect("a folder");
    let forge = forge();
    let env = [
        ("GITEA_URL", forge.url.as_str()),
        ("GITEA_TOKEN", "long-token"),
        ("TINQS_CI_FORGE__REGISTER_IN", "scope"),
    ];
    let said = tinqs_in(folder.path(), &["doctor"], &env);
    assert!(said.out.contains("✓ token: registration"), "{}", said.out);
    let told = "any repository in scope can take these machines";
    assert!(said.out.contains(told), "{}", said.out);
}
