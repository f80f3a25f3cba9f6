//! Credentials that AWS holds.

use tinqs_ci_simulator::aws_wire::{Kind, Rule, When};

use super::place::{CommandOutput, Place, TOKEN};

const HOOK: &str = "canary-of-the-webhook-secret";

/// The forge's token in a parameter, and the webhook's secret in a secret.
fn named() -> [(&'static str, String); 2] {
    [
        ("TINQS_CI_FORGE__TOKEN__SSM", "/ci/forge".to_owned()),
        ("TINQS_CI_FORGE__WEBHOOK_SECRET__SECRETSMANAGER", "ci/hook".to_owned()),
    ]
}

async fn checked(place: &Place) -> CommandOutput {
    let said = place.run(&["config", "check"], &named()).await;
    assert!(!said.out.contains(HOOK) && !said.err.contains(HOOK), "the output contains a secret");
    said
}

/// Asserts that the configuration is refused, and that the message has all of this.
#[track_caller]
fn refused(said: &CommandOutput, parts: &[&str]) {
    assert_eq!(said.code, 2, "{}{}", said.out, said.err);
    for part in parts {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_from_aws_is_decrypted_and_used_and_never_shown() {
    let place = Place::new().await;
    place.ec2.set_secure_parameter("/ci/forge", &format!("{TOKEN}\n"));
    place.ec2.set_secret("ci/hook", HOOK);
    let report = place.doctor(&named()).await;
    // The forge would refuse the encrypted value.
    assert_eq!(report.one("token: job list").status, "ok", "{report:#?}");
    let shown = place.run(&["config", "show"], &named()).await;
    assert_eq!((shown.code, shown.err.as_str()), (0, ""));
    for origin in [
        "# TINQS_CI_FORGE__TOKEN__SSM, SSM parameter /ci/forge",
        "# TINQS_CI_FORGE__WEBHOOK_SECRET__SECRETSMANAGER, Secrets Manager ci/hook",
    ] {
        assert!(shown.out.contains(origin), "{}", shown.out);
    }
    assert!(!shown.out.contains(HOOK), "the output contains a secret");
    assert!(place.ec2.ledger().count("GetSecretValue") >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_cannot_be_read_names_itself_the_cause_and_the_remedy() {
    let place = Place::new().await;
    refused(
        &checked(&place).await,
        &[
            "forge.token: the SSM parameter `/ci/forge`: ParameterNotFound (HTTP 400)",
            "as a SecureString",
            "forge.webhook_secret: the secret `ci/hook` of Secrets Manager: \
             ResourceNotFoundException (HTTP 400)",
            "as plain text",
        ],
    );
    place.ec2.set_secure_parameter("/ci/forge", TOKEN);
    place.ec2.set_secret("ci/hook", &format!("{HOOK}\nof two lines"));
    refused(&checked(&place).await, &["forge.webhook_secret", "control character"]);
    place.ec2.set_secret("ci/hook", "\n");
    refused(&checked(&place).await, &["`ci/hook` of Secrets Manager is empty"]);
    place.ec2.set_secret("ci/hook", HOOK);
    let said = checked(&place).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let down = Kind::Error { code: "InternalServiceError".to_owned(), status: 500 };
    let rule = Rule::new("secretsmanager", "GetSecretValue", When::Always, down);
    place.ec2.faults(|rules| rules.add(rule));
    refused(&checked(&place).await, &["InternalServiceError (HTTP 500)"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_named_with_its_statement() {
    let denied = ["ssm:GetParameter", "secretsmanager:GetSecretValue"].map(str::to_owned);
    let place = Place::of(|options| options.denied = denied.to_vec()).await;
    refused(
        &checked(&place).await,
        &[
            "AccessDeniedException (HTTP 400)",
            "allow ssm:GetParameter on it",
            "statement SecretParameters",
            "allow secretsmanager:GetSecretValue on it",
            "statement ForgeToken",
        ],
    );
}
