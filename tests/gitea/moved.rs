//! Repositories that vanish, whose owner is renamed, and of which there are many.

use jiff::Timestamp;
use tinqs_ci_gitea::Scope;
use tinqs_ci_reconciler::model::{Job, JobRef, RepoRef};
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _};
use tinqs_ci_simulator::forge::{JobSpec, Line, Scope as Level};
use tinqs_ci_simulator::gitea_wire::Right;

use crate::levels::{LINES, OTHER, attempt_id, in_repositories, linux, start};
use crate::script::{JOB_REPO, client};

fn build() -> [JobSpec; 1] {
    [JobSpec::new("build", &["linux"])]
}

#[tokio::test]
async fn a_repository_that_vanishes_between_the_list_and_the_registration_gets_no_runner() {
    for has_token in [false, true] {
        let wire = start(Line::V1_27, Right::Admin);
        let client = client(&in_repositories(&wire.url(), Scope::All));
        wire.forge().push(Timestamp::now(), JOB_REPO.name, &build());
        let waiting = client.waiting().await.expect("answers").expect("jobs mode");
        let job = waiting[0].job.clone();
        if has_token {
            let made = client.register(&attempt_id(1), JOB_REPO, &linux()).await;
            let made = made.expect("registers");
            client.retire(made.id, made.repo_id).await.expect("removed");
        }
        wire.forge().remove_repo(JOB_REPO.name);
        let repo = RepoRef { id: job.repo_id, name: &job.repo };
        let error = client.register(&attempt_id(2), repo, &linux()).await.expect_err("it is gone");
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains("the job's repository is gone"), "{error}");
        assert_eq!(wire.forge().runners().count(), 0, "the token is known: {has_token}");
        // The next reconcile finishes its run.
        assert_eq!(client.job(&job).await.expect("answers").state, Job::Absent);
    }
}

#[tokio::test]
async fn after_its_owner_is_renamed_a_repository_is_known_by_its_id() {
    for line in LINES {
        let wire = start(line, Right::Owner);
        let client = client(&in_repositories(&wire.url(), Scope::Org("acme".to_owned())));
        let now = Timestamp::now();
        let job_id = wire.forge().push(now, JOB_REPO.name, &build())[0];
        let made = client.register(&attempt_id(1), JOB_REPO, &linux()).await.expect("registers");
        for repo in [JOB_REPO, OTHER] {
            let name = repo.name.replace("acme/", "umbrella/");
            assert!(wire.forge().rename_repo(now, repo.name, &name));
        }
        client.waiting().await.expect_err("the owner of `forge.scope` is gone: no empty list");
        let read = client.registration(made.id, made.repo_id).await.expect("answers");
        assert!(read.is_some(), "{line:?}: it is not missing");
        let job = JobRef { repo: JOB_REPO.name.to_owned(), repo_id: JOB_REPO.id, job_id };
        let seen = client.job(&job).await.expect("answers");
        assert_eq!((seen.state, seen.repo.as_deref()), (Job::Waiting, Some("umbrella/widget")));
        let next = client.register(&attempt_id(2), JOB_REPO, &linux()).await.expect("registers");
        let row = wire.forge().runner(next.id).cloned().expect("a row");
        assert_eq!(row.scope, Level::Repo("umbrella/widget".to_owned()), "{line:?}");
    }
}

#[tokio::test]
async fn the_jobs_of_a_thousand_repositories_are_listed_and_each_is_looked_up_once() {
    let wire = start(Line::V1_27, Right::Admin);
    let client = client(&in_repositories(&wire.url(), Scope::All));
    for number in 0..1_000 {
        wire.forge().push(Timestamp::now(), &format!("acme/lab-{number}"), &build());
    }
    for _ in 0..2 {
        let waiting = client.waiting().await.expect("answers").expect("jobs mode");
        assert_eq!(waiting.len(), 1_000);
        let ids: std::collections::BTreeSet<i64> =
            waiting.iter().map(|job| job.job.repo_id).collect();
        assert_eq!(ids.len(), 1_000);
    }
    let calls = wire.counters().calls;
    assert_eq!(calls.get("GET /repos/{owner}/{repo}").copied(), Some(1_000), "{calls:?}");
}
