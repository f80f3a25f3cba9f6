//! Situations that an operator meets, on a real server and a forge on loopback: each has its reason
//! and its remedy in `status` and `why`, and both vanish with the cause.

mod blocked;
mod jobs;
mod pushes;
mod reruns;
mod sides;

use std::process::Output;
use std::time::{Duration, Instant};

use tinqs_ci_test_host::{Host, Options};

/// Returns a host for the program under test.
fn host(options: &Options) -> Host {
    Host::new(env!("CARGO_BIN_EXE_tinqs-ci"), options)
}

/// A class that ends its machines soon.
const CLASS: &str =
    "labels = [\"linux\"]\nboot_within = \"20s\"\nidle_within = \"8s\"\nassign_within = \"6s\"";

/// The time within which a reason must appear or vanish: polls and reconciles take seconds.
const SOON: Duration = Duration::from_mins(1);

/// The output of a command, and its exit code.
struct Printed {
    code: Option<i32>,
    text: String,
}

/// Runs a command against the server without blocking its forge, which lives in this process.
async fn printed(host: &Host, arguments: &[&str]) -> Printed {
    let Output { status, stdout, stderr } = tokio::task::block_in_place(|| host.run(arguments));
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    Printed { code: status.code(), text }
}

/// Waits until a command prints all of these texts, and returns what it printed.
async fn says(host: &Host, arguments: &[&str], texts: &[&str]) -> Printed {
    let has_all = |text: &str| {
        let text = flat(text);
        texts.iter().all(|wanted| text.contains(wanted))
    };
    wait(host, arguments, &format!("prints {texts:?}"), |printed| has_all(&printed.text)).await
}

/// Returns a text in one line: where it is broken depends on the length of paths.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Waits until `status` says that somebody must act, with all of these texts.
async fn needs_a_person(host: &Host, texts: &[&str]) {
    let said = |printed: &Printed| texts.iter().all(|wanted| printed.text.contains(wanted));
    wait(host, &["status"], &format!("exits with 1 and prints {texts:?}"), |printed| {
        printed.code == Some(1) && said(printed)
    })
    .await;
}

/// Waits until a command prints none of these texts, and returns what it printed.
async fn no_longer_says(host: &Host, arguments: &[&str], texts: &[&str]) -> Printed {
    let has_none = |text: &str| texts.iter().all(|wanted| !text.contains(wanted));
    wait(host, arguments, &format!("prints none of {texts:?}"), |printed| has_none(&printed.text))
        .await
}

/// Waits until `status` finds everything well.
async fn all_is_well(host: &Host) {
    wait(host, &["status"], "exits with 0", |printed| printed.code == Some(0)).await;
}

async fn wait(
    host: &Host,
    arguments: &[&str],
    what: &str,
    condition: impl Fn(&Printed) -> bool,
) -> Printed {
    let end = Instant::now() + SOON;
    loop {
        let printed = printed(host, arguments).await;
        if condition(&printed) {
            return printed;
        }
        assert!(
            Instant::now() < end,
            "`tinqs-ci {}` never {what}; it exits with {:?} and prints:\n{}",
            arguments.join(" "),
            printed.code,
            printed.text
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

tinqs_ci_test_host::suite! {
    // First, because it takes longest.
    jobs::a_job_outlasts_max_age,
    blocked::a_job_waits_for_its_needs,
    blocked::without_the_workflow_file_both_causes_are_named,
    blocked::before_1_26_a_job_that_is_not_held_back_waits_for_its_needs,
    blocked::before_1_26_pages_name_no_ids,
    blocked::a_workflow_run_waits_for_its_approval,
    blocked::the_page_of_a_workflow_run_without_a_run_here_tells_its_jobs,
    jobs::no_class_serves_the_labels,
    jobs::a_class_is_at_its_limit,
    jobs::a_running_job_says_since_when,
    jobs::a_job_is_cancelled_while_it_runs,
    jobs::the_machine_of_a_running_job_is_killed,
    jobs::a_lost_job_runs_again,
    jobs::a_lost_job_runs_again_under_another_id,
    jobs::before_1_26_a_lost_job_is_said_at_once_not_to_run_again,
    jobs::a_killed_controller_tells_the_same_story,
    jobs::the_runner_is_missing,
    jobs::a_cancelled_job_is_run_again,
    pushes::the_workflow_file_has_a_syntax_error,
    pushes::a_filter_excludes_the_branch,
    pushes::a_filter_excludes_the_changed_files,
    reruns::a_failed_job_is_run_again,
    reruns::each_short_job_is_counted_once_with_its_wait,
    sides::the_token_is_revoked,
    sides::the_forge_is_down,
    sides::the_disk_is_full,
    sides::the_webhook_secret_is_wrong,
    sides::the_host_list_of_the_forge_blocks_the_webhook,
    sides::the_file_of_the_token_is_replaced,
    sides::machines_cannot_reach_the_forge,
}
