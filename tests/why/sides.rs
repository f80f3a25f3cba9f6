//! Situations of the services: the forge, its webhooks, the store, the configuration.

use tinqs_ci_simulator::gitea_wire::{ApiToken, Hook, Right};
use tinqs_ci_test_host::{Host, Options, SECRET, TOKEN};

use crate::{CLASS, all_is_well, host, needs_a_person, no_longer_says, says};

fn accepted() -> Vec<ApiToken> {
    vec![ApiToken { token: TOKEN.to_owned(), right: Right::Admin }]
}

pub(crate) async fn the_token_is_revoked() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.start().await;
    host.wire.tokens(Vec::new());
    let job = host.push(1, &["linux"], "true")[0];
    let name = job.to_string();
    needs_a_person(&host, &["ForgeDenied", "401", "token"]).await;
    says(&host, &["why", &name], &["ForgeDenied"]).await;
    says(&host, &["get", "runs"], &["forge"]).await;
    // The same after a restart.
    host.kill();
    host.start().await;
    says(&host, &["status"], &["ForgeDenied", "401"]).await;
    host.wire.tokens(accepted());
    host.all_done(&[job], 90).await;
    no_longer_says(&host, &["status"], &["ForgeDenied"]).await;
    all_is_well(&host).await;
}

pub(crate) async fn the_forge_is_down() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.start().await;
    let job = host.push(1, &["linux"], "sleep 1")[0];
    says(&host, &["get", "runs"], &[&format!("job-{job}")]).await;
    host.wire.stop().await;
    // A short outage passes by itself, so that nobody must act yet.
    let status = says(&host, &["status"], &["ForgeUnreachable", "forge.url"]).await;
    assert_eq!(status.code, Some(0), "{}", status.text);
    says(&host, &["why", &job.to_string()], &["ForgeUnreachable"]).await;
    host.wire.resume().expect("the forge's port is free");
    host.all_done(&[job], 120).await;
    no_longer_says(&host, &["status"], &["ForgeUnreachable"]).await;
    all_is_well(&host).await;
}

pub(crate) async fn the_disk_is_full() {
    let mut host = host(&Options { class: CLASS, limited_files: true, ..Options::default() });
    host.start().await;
    host.disk(true);
    let job = host.push(1, &["linux"], "true")[0];
    needs_a_person(&host, &["StoreFailing", "free space"]).await;
    host.disk(false);
    host.all_done(&[job], 90).await;
    no_longer_says(&host, &["status"], &["StoreFailing"]).await;
    all_is_well(&host).await;
}

pub(crate) async fn the_webhook_secret_is_wrong() {
    let mut host = host(&Options { class: CLASS, hook: false, ..Options::default() });
    host.wire.add_hook(Hook::system(host.url("/webhook"), "another-webhook-secret"));
    host.start().await;
    // The forge's job list serves the job nevertheless.
    let job = host.push(1, &["linux"], "true")[0];
    needs_a_person(&host, &["webhook", "signature", "webhook_secret"]).await;
    host.all_done(&[job], 90).await;
    let wrong = host.wire.hooks().remove(0);
    host.wire.change_hook(wrong.id, |hook| SECRET.clone_into(&mut hook.secret));
    let job = host.push(1, &["linux"], "true")[0];
    host.all_done(&[job], 90).await;
    no_longer_says(&host, &["status"], &["WebhookRefused"]).await;
    all_is_well(&host).await;
}

pub(crate) async fn the_host_list_of_the_forge_blocks_the_webhook() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.wire.refuse_hosts(true);
    host.start().await;
    // The forge does not even connect; the job list serves the job nevertheless.
    let job = host.push(1, &["linux"], "true")[0];
    host.all_done(&[job], 90).await;
    says(&host, &["status"], &["none since the start"]).await;
    let doctor = |host: &Host| tokio::task::block_in_place(|| host.run_configured(&["doctor"]));
    let told = String::from_utf8(doctor(&host).stdout).expect("text");
    for text in ["✗ server: webhooks", "found by polling", "ALLOWED_HOST_LIST = external,127.0.0.1"]
    {
        assert!(told.contains(text), "`{text}` is missing in:\n{told}");
    }
    host.wire.refuse_hosts(false);
    let job = host.push(1, &["linux"], "true")[0];
    host.all_done(&[job], 90).await;
    says(&host, &["status"], &["✓ ok", "accepted, 0 refused"]).await;
    no_longer_says(&host, &["status"], &["none since the start"]).await;
    let told = String::from_utf8(doctor(&host).stdout).expect("text");
    assert!(told.contains("✓ server: webhooks") && !told.contains("ALLOWED_HOST_LIST"), "{told}");
}

pub(crate) async fn the_file_of_the_token_is_replaced() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    let file = host.dir.path().join("token");
    let replace = |token: &str| {
        let new = file.with_extension("new");
        std::fs::write(&new, token).expect("written");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&new, private).expect("private");
        std::fs::rename(&new, &file).expect("renamed");
    };
    replace(TOKEN);
    let path = file.display().to_string();
    host.edit(|text| {
        text.replace("{ env = \"FORGE_TOKEN\" }", &format!("{{ file = \"{path}\" }}"))
    });
    host.start().await;
    let pid = host.pid();
    host.wire.tokens(Vec::new());
    let job = host.push(1, &["linux"], "true")[0];
    needs_a_person(&host, &["ForgeDenied", "401", "file"]).await;
    says(&host, &["why", &job.to_string()], &["ForgeDenied"]).await;
    let token = "a-new-api-token";
    host.wire.tokens(vec![ApiToken { token: token.to_owned(), right: Right::Admin }]);
    replace(token);
    host.all_done(&[job], 90).await;
    no_longer_says(&host, &["status"], &["ForgeDenied"]).await;
    says(&host, &["why", &job.to_string()], &["the job succeeded"]).await;
    all_is_well(&host).await;
    assert_eq!(host.pid(), pid, "without a restart");
}

pub(crate) async fn machines_cannot_reach_the_forge() {
    let class = "labels = [\"linux\"]\nboot_within = \"5s\"\nidle_within = \"4s\"";
    let mut host = host(&Options { class, ..Options::default() });
    // Nobody listens on the port of the discard protocol.
    host.edit(|text| text.replace("demand =", "machine_url = \"http://127.0.0.1:9\"\ndemand ="));
    host.start().await;
    let job = host.push(1, &["linux"], "true")[0];
    let name = job.to_string();
    says(&host, &["why", &name], &["BackingOff", "127.0.0.1:9"]).await;
    host.kill();
    host.edit(|text| text.replace("machine_url = \"http://127.0.0.1:9\"\n", ""));
    host.start().await;
    host.all_done(&[job], 120).await;
    says(&host, &["why", &name], &["the job succeeded"]).await;
    all_is_well(&host).await;
}
