//! Each credential of one host is replaced as `docs/how-to/rotate-secrets.md` says.

use std::fs;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tinqs_ci_reconciler::model::Conclusion;
use tinqs_ci_simulator::forge::Status;
use tinqs_ci_simulator::gitea_wire::{ApiToken, Right};
use tinqs_ci_test_host::{Host, OWN_TOKEN, SECRET};

use crate::book::{block, read};
use crate::play::{credential, host, in_file, logged, play};

const PAGE: &str = "docs/how-to/rotate-secrets.md";
const CHANGED: &str = "secret changed, the new one is in force";

async fn runs_a_job(host: &Host) {
    let jobs = host.push(1, &["linux"], "true");
    host.all_done(&jobs, 90).await;
    assert_eq!(host.status(jobs[0]), Status::Done(Conclusion::Success));
}

/// Waits until the log says that the credential of a key is replaced.
async fn replaced(host: &Host, key: &str) {
    host.until(&format!("{key} is replaced"), 30, async |host| logged(host, &[CHANGED, key]) > 0)
        .await;
}

/// Returns the status of a call of the API with this token.
async fn called(host: &Host, token: &str) -> u16 {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client");
    let request = client.get(host.url("/v1/status")).bearer_auth(token);
    request.send().await.expect("an answer").status().as_u16()
}

/// Whether a webhook with this secret is accepted.
async fn is_accepted(host: &Host, secret: &str) -> bool {
    let body = "{}";
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body.as_bytes());
    let request = host.http.post(host.url("/webhook"));
    let request = request
        .header("Content-Type", "application/json")
        .header("X-Gitea-Event", "repository")
        .header("X-Gitea-Signature", hex::encode(mac.finalize().into_bytes()));
    let status = request.body(body).send().await.expect("the server answers").status();
    assert!(!status.is_server_error(), "{status}");
    status != 401
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_in_a_file_is_replaced_without_a_restart() {
    const NEW_TOKEN: &str = "replaced-token-of-the-forge";
    const NEW_API_TOKEN: &str = "replaced-token-of-the-api";
    const NEW_GIT_TOKEN: &str = "replaced-token-for-git";
    let mut host = host();
    let git = host.dir.path().join("tinqs-ci.git-token");
    credential(&git, "former-token-for-git");
    let git_token = format!("git_token = {}\ndemand = ", in_file(&git));
    host.edit(|text| text.replacen("demand = ", &git_token, 1));
    host.start().await;
    runs_a_job(&host).await;
    assert_eq!(called(&host, OWN_TOKEN).await, 200);

    let replace = block(PAGE, "umask 077\ncat >FILE.new");
    for (file, key, value) in [
        ("tinqs-ci.token", "forge.token", NEW_TOKEN),
        ("tinqs-ci.api-token", "server.token", NEW_API_TOKEN),
        ("tinqs-ci.git-token", "forge.git_token", NEW_GIT_TOKEN),
    ] {
        if key == "forge.token" {
            // The new one is created, and the former one deleted.
            let new = ApiToken { token: value.to_owned(), right: Right::Admin };
            host.wire.tokens(vec![new]);
        }
        play(&host, &replace, &[("FILE", file)], &format!("{value}\n"));
        replaced(&host, key).await;
    }
    assert_eq!((called(&host, OWN_TOKEN).await, called(&host, NEW_API_TOKEN).await), (401, 200));
    runs_a_job(&host).await;
    let secrets = [NEW_TOKEN, NEW_API_TOKEN, NEW_GIT_TOKEN];
    assert!(secrets.iter().all(|secret| logged(&host, &[secret]) == 0), "none is in the log");
    host.assert_no_secret_told();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_secret_is_replaced_without_a_refused_webhook() {
    let mut host = host();
    host.start().await;
    play(&host, &block(PAGE, "umask 077\nod "), &[], "");
    let file = host.dir.path().join("tinqs-ci.webhook-secret");
    let new = fs::read_to_string(file.with_extension("webhook-secret.new")).expect("written");
    assert!(new.len() == 64 && new.chars().all(|c| c.is_ascii_hexdigit()), "32 bytes as text");

    // Both lines are on the page.
    let place = |line: &str| line.replace("/etc/tinqs-ci", &host.dir.path().display().to_string());
    let page = read(PAGE);
    let [both, one] = ["webhook_secret = [{", "webhook_secret = {"].map(|begin| {
        let mut lines = page.lines().map(str::trim).filter(|line| line.starts_with(begin));
        place(lines.next().expect("a line of the configuration"))
    });
    let former = format!("webhook_secret = {}", in_file(&file));
    host.edit(|text| text.replace(&former, &both));
    play(&host, &block(PAGE, "tinqs-ci reload"), &[], "");
    assert!(is_accepted(&host, SECRET).await && is_accepted(&host, &new).await);
    let hook = host.wire.hooks()[0].id;
    host.wire.change_hook(hook, |hook| hook.secret.clone_from(&new));
    runs_a_job(&host).await;
    assert_eq!(logged(&host, &["rejected webhook", "bad_signature"]), 0, "none is refused");

    host.edit(|text| text.replace(&both, &one));
    play(&host, &block(PAGE, "mv tinqs-ci.webhook-secret.new"), &[], "");
    assert!(!is_accepted(&host, SECRET).await && is_accepted(&host, &new).await);
    runs_a_job(&host).await;
    assert_eq!(logged(&host, &[new.as_str()]), 0, "the secret is not in the log");
}
