//! Credentials that are stored in AWS.

#[cfg(not(feature = "aws"))]
use expect_test::expect;
use tinqs_ci_aws::secrets::SecretId;

use super::{MINIMAL, parse};

#[test]
fn one_source_of_a_credential_is_enough() {
    for both in ["ssm = \"/a\", file = \"b\"", "ssm = \"/a\", secretsmanager = \"b\""] {
        let text = format!("{MINIMAL}token = {{ {both} }}\n");
        let mistakes = parse(&text, &[]).expect_err(both).to_string();
        let says = "forge.token: expected exactly one of `env`, `file`, `ssm` and `secretsmanager`";
        assert!(mistakes.contains(says), "{mistakes}");
    }
}

#[test]
fn names_are_shown_for_people() {
    let parameter = SecretId::Parameter("/ci/token".to_owned());
    assert_eq!(parameter.to_string(), "the SSM parameter `/ci/token`");
    let secret = SecretId::Secret("ci/token\u{1b}[2J".to_owned());
    assert!(!secret.to_string().contains('\u{1b}'), "{secret}");
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_aws_says_so_of_each_key() {
    let text = format!(
        "{MINIMAL}token = {{ ssm = \"/ci/token\" }}\n\
         webhook_secret = [{{ secretsmanager = \"ci/hook\" }}]\n"
    );
    let mistakes = parse(&text, &[]).expect_err("no AWS");
    expect![[r#"
        ci.toml:3: forge.token: the SSM parameter `/ci/token`: this build has no AWS adapters: use a build with the feature `aws` (`cargo build --release --features aws`), or { env = "NAME" } or { file = "path" }
        ci.toml:4: forge.webhook_secret: the secret `ci/hook` of Secrets Manager: this build has no AWS adapters: use a build with the feature `aws` (`cargo build --release --features aws`), or { env = "NAME" } or { file = "path" }"#]]
    .assert_eq(&mistakes.lines.join("\n"));
}
