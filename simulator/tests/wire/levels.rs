//! Runners of single repositories, and disabled ones.

use jiff::Timestamp;
use serde_json::json;
use tinqs_ci_simulator::forge::{JobSpec, Line};

use super::{REPO, RPC, Site};

#[tokio::test]
async fn a_repositorys_token_registers_runners_that_get_only_its_jobs() {
    for line in [Line::V1_25, Line::V1_26, Line::V1_27] {
        let site = Site::new(line);
        site.wire.forge().add_repo(REPO);
        let now = Timestamp::now();
        site.wire.forge().push(now, "acme/other", &[JobSpec::new("older", &["linux"])]);
        let runners = format!("/repos/{REPO}/actions/runners");
        let path = format!("/api/v1{runners}/registration-token");
        let (_, token) = site.post(&path, &json!({})).await;
        let body = json!({
            "name": "tq-vm", "token": token["token"], "labels": ["linux", "x64"], "ephemeral": true,
        });
        let (_, made) = site.post(&format!("{RPC}/Register"), &body).await;
        let text = |key: &str| made["runner"][key].as_str().expect("a text").to_owned();
        let fetch = || {
            let mut forge = site.wire.forge();
            let fetched = forge.fetch(now, &text("uuid"), &text("token"), 0).expect("registered");
            fetched.task.map(|task| task.repo)
        };
        assert_eq!(fetch(), None, "{line:?}");
        for (list, count) in
            [("/admin/actions/runners", 1), (&runners, 1), ("/repos/acme/other/actions/runners", 0)]
        {
            assert_eq!(site.get(list).await.1["total_count"], count, "{list}");
        }
        site.push(&[JobSpec::new("another label", &["gpu"]), JobSpec::new("own", &["linux"])]);
        assert_eq!(fetch().as_deref(), Some(REPO));
    }
}

#[tokio::test]
async fn a_disabled_runner_gets_no_job_and_1_25_cannot_disable_one() {
    for (line, expected) in [(Line::V1_25, 405), (Line::V1_26, 200), (Line::V1_27, 200)] {
        let site = Site::new(line);
        let row = site.register(&["linux"]).await;
        let url = format!("{}/api/v1/admin/actions/runners/1", site.wire.url());
        let request = site.http.patch(url).header("Authorization", "token api-token");
        let answer = request.json(&json!({ "disabled": true })).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{line:?}");
        site.push(&[JobSpec::new("build", &["linux"])]);
        let text = |key: &str| row[key].as_str().expect("a text").to_owned();
        let fetched =
            site.wire.forge().fetch(Timestamp::now(), &text("uuid"), &text("token"), 0).unwrap();
        assert_eq!(fetched.task.is_some(), expected == 405, "{line:?}");
    }
}
