//! `[server]`: addresses, tokens, and the keys of earlier versions.

use expect_test::expect;
use tinqs_ci::settings::Right;

use crate::{bad_top, good, parse, with};

const HOME: (&str, &str) = ("HOME_TOKEN", "long-token");

#[test]
fn each_key_of_an_earlier_version_names_its_successor_once() {
    bad_top(
        "[server]\nlisten = \"127.0.0.1:8080\"\napi_token = { env = \"NOT_SET\" }",
        &expect![[r#"
            ci.toml:2: server.listen: is `server.webhooks` now, which takes webhooks only: rename it; the API has an address of its own, `server.api` (default "127.0.0.1:8081")
            ci.toml:3: server.api_token: is a [[server.token]] now: write name = "operator", secret = … and may = "operate" under that heading, or set the variable TINQS_CI_SERVER__TOKEN"#]],
    );
    let variables = [HOME, ("TINQS_CI_SERVER__LISTEN", "x"), ("TINQS_CI_SERVER__API_TOKEN", "y")];
    let mistakes = parse(&with(""), &variables).expect_err("both are gone").to_string();
    expect![[r#"
        TINQS_CI_SERVER__API_TOKEN: server.api_token: is a [[server.token]] now: write name = "operator", secret = … and may = "operate" under that heading, or set the variable TINQS_CI_SERVER__TOKEN
        TINQS_CI_SERVER__LISTEN: server.listen: is `server.webhooks` now, which takes webhooks only: rename it; the API has an address of its own, `server.api` (default "127.0.0.1:8081")"#]].assert_eq(&mistakes);
}

#[test]
fn the_addresses_differ() {
    bad_top(
        "[server]\nwebhooks = \"127.0.0.1:8081\"",
        &expect![
            "ci.toml:2: server.webhooks: 127.0.0.1:8081 is `server.api` already: use another port"
        ],
    );
    bad_top(
        "[server]\nmetrics = \"127.0.0.1:8080\"",
        &expect![
            "ci.toml:2: server.metrics: 127.0.0.1:8080 is `server.webhooks` already: use another port"
        ],
    );
    let any = with("[server]\nwebhooks = \"127.0.0.1:0\"\napi = \"127.0.0.1:0\"");
    assert_eq!(good(&any, &[HOME]).settings.server.api.port(), 0, "any port");
}

#[test]
fn tokens_have_a_name_a_secret_and_a_right() {
    bad_top(
        "[[server.token]]\nmay = \"write\"",
        &expect![[r#"
        ci.toml:1: server.token 1: name: is missing: expected up to 40 letters, digits, `-`, `_` or `.`, starting with a letter or a digit
        ci.toml:1: server.token 1: secret: is missing: expected { env = "NAME" }, { file = "path" }, { ssm = "/name" }, { secretsmanager = "name" } or the credential as a string
        ci.toml:2: server.token 1: may: "write" is not valid: expected "read" or "operate""#]],
    );
    let token =
        "[[server.token]]\nname = \"a\"\nsecret = { env = \"HOME_TOKEN\" }\nmay = \"read\"\n";
    bad_top(
        &format!("{token}{token}"),
        &expect![[r#"ci.toml:6: server.token "a": name: "a" is used by two tokens"#]],
    );
    bad_top(
        "[server]\ntoken = \"word\"",
        &expect![
            "ci.toml:2: server.token: expected tables in the file, each under [[server.token]], not a string"
        ],
    );
}

#[test]
fn a_variable_sets_one_token_that_may_operate() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "of-the-file-0123456789\n").expect("written");
    let file = file.to_str().expect("text");
    for (variable, value, secret) in [
        ("TINQS_CI_SERVER__TOKEN", "directly-0123456789", "directly-0123456789"),
        ("TINQS_CI_SERVER__TOKEN__FILE", file, "of-the-file-0123456789"),
    ] {
        let loaded = good(&with(""), &[HOME, (variable, value)]);
        let tokens: Vec<_> = loaded.settings.server.tokens().collect();
        assert_eq!(tokens.len(), 1, "{variable}");
        assert_eq!((tokens[0].name.as_str(), tokens[0].may), ("environment", Right::Operate));
        assert_eq!(tokens[0].secret.expose(), secret);
    }
}

#[test]
fn credentials_are_replaced_by_the_key_of_their_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("of-{name}-0123456789")).expect("written");
        format!("{{ file = \"{}\" }}", path.display())
    };
    let text = format!(
        "[forge]\nurl = \"http://x\"\ntoken = {}\nwebhook_secret = [{}, {}]\n[[server.token]]\n\
         name = \"a\"\nsecret = {}\nmay = \"read\"\n",
        file("token"),
        file("first"),
        file("second"),
        file("own"),
    );
    let loaded = good(&text, &[]);
    let files = &loaded.secret_sources.files;
    let keys: Vec<&str> = files.iter().map(|file| file.key.as_str()).collect();
    let expected = [
        "forge.token",
        "forge.webhook_secret",
        "forge.webhook_secret[1]",
        "server.token \"a\": secret",
    ];
    assert_eq!(keys, expected);
    let mut settings = loaded.settings;
    for key in expected {
        let new = tinqs_ci_reconciler::model::Secret::new(format!("new {key}"));
        assert!(settings.replace_secret(key, &new), "{key}");
        assert!(settings.secrets().contains(&new), "{key}");
        assert!(!settings.replace_secret(key, &new), "{key} is the same");
    }
}

/// The function of the stack has no file.
#[test]
fn metrics_for_cloudwatch_are_asked_for_by_the_file_or_a_variable() {
    let emf = |text: &str, value: &str| {
        good(&with(text), &[HOME, ("TINQS_CI_SERVER__EMF", value)]).settings.server.emf
    };
    assert!(!good(&with(""), &[HOME]).settings.server.emf, "AWS charges for them");
    assert!(good(&with("[server]\nemf = true"), &[HOME]).settings.server.emf);
    assert!(emf("", "true") && !emf("[server]\nemf = true", "false"), "the variable counts");
    let wrong = [HOME, ("TINQS_CI_SERVER__EMF", "yes")];
    let mistakes = parse(&with(""), &wrong).expect_err("not a switch").to_string();
    let told = "TINQS_CI_SERVER__EMF: server.emf: expected true or false";
    assert!(mistakes.contains(told), "{mistakes}");
}
