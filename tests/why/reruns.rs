//! Re-runs, and waits by the forge's own times.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::Conclusion;
use tinqs_ci_simulator::forge::{Line, Status};
use tinqs_ci_test_host::Options;

use crate::{CLASS, all_is_well, host, no_longer_says, says};

pub(crate) async fn a_failed_job_is_run_again() {
    // Up to 1.26 the job keeps its ID; since 1.27 each attempt has its own.
    for line in [Line::V1_26, Line::V1_27] {
        let mut host = host(&Options { class: CLASS, line, ..Options::default() });
        host.start().await;
        let tried = host.dir.path().join("tried").display().to_string();
        let script = format!("test -e '{tried}' || {{ touch '{tried}'; exit 1; }}; sleep 3");
        let job = host.push(1, &["linux"], &script)[0];
        host.all_done(&[job], 60).await;
        assert_eq!(host.status(job), Status::Done(Conclusion::Failure));
        let told = says(&host, &["why", &job.to_string()], &["the job failed"]).await;
        assert!(!told.text.contains("attempt of the job"), "it is the first: {}", told.text);
        let again = host.forge().rerun(Timestamp::now(), job);
        assert_eq!(again == job, line == Line::V1_26, "{line:?}");
        let name = format!("job-{again}");
        says(&host, &["why", &name], &["2nd attempt of the job"]).await;
        says(&host, &["get", "runs"], &["2nd attempt"]).await;
        host.all_done(&[again], 90).await;
        let told = says(&host, &["describe", &name], &["succeeded, 2nd attempt"]).await;
        assert!(told.text.contains("(2nd attempt of the job)"), "the timeline: {}", told.text);
        no_longer_says(&host, &["why", &name], &["the job failed;"]).await;
        all_is_well(&host).await;
    }
}

pub(crate) async fn each_short_job_is_counted_once_with_its_wait() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.start().await;
    let jobs = host.push(2, &["linux"], "true");
    host.all_done(&jobs, 60).await;
    host.settles(60).await;
    // A wait is counted after the record of its run is written.
    host.until("both are counted", 20, async |host| {
        host.get("/v1/status").await["classes"][0]["waits"]["jobs"] == 2
    })
    .await;
    let status = host.get("/v1/status").await;
    let waits = &status["classes"][0]["waits"];
    assert!(waits["p95_seconds"].as_i64().is_some_and(|seconds| seconds < 60), "{waits}");
    let url = host.url("/metrics");
    let metrics = host.http.get(url).send().await.expect("an answer").text().await.expect("text");
    let counted = "tinqs_ci_job_wait_duration_seconds_count{class=\"linux\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    let run = host.get(&format!("/v1/runs/job-{}", jobs[0])).await;
    let wait = &run["status"]["wait"];
    assert!(wait["queued_at"].is_string() && wait["started_at"].is_string(), "{run}");
    assert_eq!(wait["attempt"], 1, "{run}");
}
