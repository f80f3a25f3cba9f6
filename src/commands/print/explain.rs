//! Formats the answers of `explain`.

use std::fmt::Write as _;

use super::{Detail, plan};
use crate::api::explain::{
    AttemptExplained, EventExplained, FilterExplained, JobExplained, JobPlanned, PushExplained,
    WorkflowExplained,
};
use tinqs_ci_reconciler::text::{cut, escape};

/// The maximum number of changed files shown.
const FILES: usize = 10;

fn mark(good: bool) -> char {
    if good { '✓' } else { '✗' }
}

fn list(texts: &[String]) -> String {
    texts.iter().map(|text| cut(text, 100)).collect::<Vec<_>>().join(", ")
}

/// Formats the explanation of a pushed commit.
pub fn explain_push(push: &PushExplained) -> String {
    let mut page = format!(
        "{} {} pushed to {}\nrules of Gitea {}, demand `{}`\n",
        cut(&push.repo, 200),
        cut(&push.sha, 12),
        cut(&push.git_ref, 200),
        escape(&push.rules),
        escape(&push.demand),
    );
    for note in &push.notes {
        let _ = writeln!(page, "note: {}", cut(note, 300));
    }
    if let Some(files) = &push.changed_files {
        let _ = writeln!(page, "\nchanged files: {}", push.changed_files_total);
        for file in files.iter().take(FILES) {
            let _ = writeln!(page, "  {}", cut(file, 200));
        }
        if push.changed_files_total > FILES {
            let _ = writeln!(page, "  and {} more", push.changed_files_total - FILES);
        }
    }
    if let Some(why) = &push.nothing {
        let _ = writeln!(page, "\nno workflow starts: {}", cut(why, 300));
    } else if push.workflows.is_empty() {
        page.push_str("\nthe commit has no workflow files\n");
    }
    for workflow in &push.workflows {
        page.push('\n');
        of_workflow(&mut page, workflow);
    }
    let s = if push.machines_at_once == 1 { "" } else { "s" };
    let _ = writeln!(page, "\n{} machine{s} needed at once", push.machines_at_once);
    page
}

fn of_workflow(page: &mut String, workflow: &WorkflowExplained) {
    let WorkflowExplained { workflow: name, invalid, events, jobs, problem } = workflow;
    let _ = writeln!(page, "{}", cut(name, 200));
    if let Some(why) = invalid {
        let _ = writeln!(page, "  ✗ the forge ignores this file: {}", cut(why, 300));
    }
    for EventExplained { event, line, matched, why, filters } in events {
        let (event, why) = (cut(event, 60), escape(why));
        let _ = writeln!(page, "  {} {event} (line {line}): {why}", mark(*matched));
        for FilterExplained { filter, patterns, matched, why } in filters {
            let (filter, why) = (cut(filter, 60), cut(why, 300));
            let patterns = cut(&list(patterns), 200);
            let _ = writeln!(page, "      {} {filter} [{patterns}]: {why}", mark(*matched));
        }
    }
    if let Some(why) = problem {
        let _ = writeln!(page, "  ✗ the forge cannot create its jobs: {}", cut(why, 300));
    }
    for job in jobs {
        of_job(page, job);
    }
}

fn of_job(page: &mut String, job: &JobPlanned) {
    let JobPlanned { job: _, name, runs_on, needs: _, state, class, run, phase, machine, why } =
        job;
    let begins = match (state.as_str(), class) {
        ("waiting", Some(_)) => "starts at once".to_owned(),
        ("blocked", Some(_)) => "starts later".to_owned(),
        ("waiting" | "blocked", None) => "gets no machine".to_owned(),
        (other, _) => escape(other),
    };
    let _ = write!(page, "    {} [{}] {begins}", cut(name, 100), list(runs_on));
    if let Some(class) = class {
        let _ = write!(page, ", class {}", cut(class, 60));
    }
    if let Some(run) = run {
        let _ = write!(page, ", run {}", cut(run, 60));
    }
    if let Some(phase) = phase {
        let _ = write!(page, " {phase:?}");
    }
    if let Some(machine) = machine {
        let _ = write!(page, ", machine {}", cut(machine, 100));
    }
    if let Some(why) = why {
        let _ = write!(page, ": {}", cut(why, 300));
    }
    page.push('\n');
}

/// Formats the explanation of a job. [`Detail::Wide`] adds internals.
pub fn explain_job(job: &JobExplained, detail: Detail) -> String {
    let mut page = format!("job {}", job.job);
    if !job.name.is_empty() {
        let _ = write!(page, " {}", cut(&job.name, 100));
    }
    if !job.repo.is_empty() {
        let _ = write!(page, " of {}", cut(&job.repo, 200));
    }
    let _ = writeln!(page, ", demand `{}`", escape(&job.demand));
    let _ = writeln!(page, "at the forge: {}", escape(&job.at_forge));
    let class = job.class.as_ref().map_or("none".to_owned(), |class| cut(class, 60));
    let _ = writeln!(page, "labels: [{}], class: {class}", list(&job.runs_on));
    let _ = match (&job.run, job.phase) {
        (Some(run), Some(phase)) => writeln!(page, "run: {} {phase:?}", cut(run, 60)),
        (Some(run), None) => writeln!(page, "run: {}", cut(run, 60)),
        (None, _) => writeln!(page, "run: none"),
    };
    if !job.why.is_empty() {
        page.push_str("\nwhy:\n");
    }
    for why in &job.why {
        let _ = writeln!(page, "  {}", cut(why, 400));
    }
    if !job.attempts.is_empty() {
        page.push_str("\nattempts:\n");
    }
    for (position, attempt) in (1..).zip(&job.attempts) {
        let of = job.attempts.len();
        of_attempt(&mut page, &format!("attempt {position} of {of}"), attempt, detail);
    }
    if let Some(next) = &job.next {
        let _ = write!(page, "\nnext:\n{}", plan(next, detail));
    }
    page
}

fn of_attempt(page: &mut String, title: &str, attempt: &AttemptExplained, detail: Detail) {
    let AttemptExplained { number, decided_at, class, refusals, ended, .. } = attempt;
    let _ = write!(page, "  {title}");
    if detail == Detail::Wide {
        let _ = write!(page, " (number {number})");
    }
    let _ = write!(page, ": decided {decided_at:.0}, class {}", cut(class, 60));
    if let Some(machine) = attempt.about_machine() {
        let _ = write!(page, ", machine {}", cut(&machine, 200));
    }
    if !refusals.is_empty() {
        let _ = write!(page, ", refused: {}", list(refusals));
    }
    let ended =
        ended.as_ref().map_or("in progress".to_owned(), |w| format!("ended: {}", cut(w, 100)));
    let _ = writeln!(page, ", {ended}");
}

#[cfg(test)]
#[allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]
mod tests {
    use expect_test::expect;
    use tinqs_ci_reconciler::model::{Market, Phase};

    use super::*;

    fn planned(name: &str, state: &str, class: Option<&str>) -> JobPlanned {
        JobPlanned {
            job: name.into(),
            name: name.into(),
            runs_on: vec!["linux".into()],
            needs: Vec::new(),
            state: state.into(),
            class: class.map(Into::into),
            run: None,
            phase: None,
            machine: None,
            why: None,
        }
    }

    #[test]
    fn a_push_is_explained_with_escaped_names() {
        let filter = |filter: &str, matched, why: &str| FilterExplained {
            filter: filter.into(),
            patterns: vec!["src/**".into(), "!src/\u{202e}x".into()],
            matched,
            why: why.into(),
        };
        let event = |event: &str, line, matched, why: &str, filters| EventExplained {
            event: event.into(),
            line,
            matched,
            why: why.into(),
            filters,
        };
        let push = PushExplained {
            repo: "acme/web".into(),
            sha: "0123456789abcdef0123456789abcdef01234567".into(),
            git_ref: "refs/heads/main".into(),
            rules: "1.26".into(),
            demand: "push".into(),
            nothing: None,
            changed_files: Some(vec!["src/a\u{1b}[31m".into()]),
            changed_files_total: 12,
            notes: vec!["changed files are relative to the commit's first parent".into()],
            workflows: vec![
                WorkflowExplained {
                    workflow: "ci.yml".into(),
                    invalid: None,
                    events: vec![
                        event(
                            "push",
                            3,
                            true,
                            "starts a workflow run",
                            vec![filter("paths", true, "`src/a` is included by `src/**`")],
                        ),
                        event("schedule", 9, false, "a schedule", Vec::new()),
                    ],
                    jobs: vec![
                        JobPlanned {
                            run: Some("push-0011223344556677".into()),
                            phase: Some(Phase::Starting),
                            machine: Some("i-1".into()),
                            ..planned("build \u{202e}(1)", "waiting", Some("linux"))
                        },
                        planned("deploy", "blocked", Some("linux")),
                        planned("train", "waiting", None),
                        planned("call", "not dispatched", None),
                    ],
                    problem: None,
                },
                WorkflowExplained {
                    workflow: "broken.yml".into(),
                    invalid: Some("line 2: there is no `on`".into()),
                    events: Vec::new(),
                    jobs: Vec::new(),
                    problem: None,
                },
            ],
            machines_at_once: 1,
        };
        expect![[r#"
            acme/web 0123456789a… pushed to refs/heads/main
            rules of Gitea 1.26, demand `push`
            note: changed files are relative to the commit's first parent

            changed files: 12
              src/a\u{1b}[31m
              and 2 more

            ci.yml
              ✓ push (line 3): starts a workflow run
                  ✓ paths [src/**, !src/\u{202e}x]: `src/a` is included by `src/**`
              ✗ schedule (line 9): a schedule
                build \u{202e}(1) [linux] starts at once, class linux, run push-0011223344556677 Starting, machine i-1
                deploy [linux] starts later, class linux
                train [linux] gets no machine
                call [linux] not dispatched

            broken.yml
              ✗ the forge ignores this file: line 2: there is no `on`

            1 machine needed at once
        "#]]
        .assert_eq(&explain_push(&push));
    }

    #[test]
    fn a_job_is_explained_with_its_attempts() {
        let job = JobExplained {
            job: 7,
            repo: "acme/web".into(),
            name: "build".into(),
            demand: "jobs".into(),
            at_forge: "waiting".into(),
            runs_on: vec!["gpu".into()],
            class: None,
            run: Some("job-7".into()),
            phase: Some(Phase::Waiting),
            attempts: vec![AttemptExplained {
                number: 1,
                decided_at: "2026-01-01T12:00:00Z".parse().expect("a time"),
                class: "gpu".into(),
                machine: None,
                kind: Some("g5.xlarge".into()),
                market: Some(Market::Spot),
                zone: None,
                hourly_micro_usd: None,
                refusals: vec!["the cloud has no capacity".into()],
                ended: Some("the cloud has no capacity".into()),
                log: None,
            }],
            next: None,
            why: vec!["NoClass: no class serves the labels [gpu\u{1b}]".into()],
        };
        expect![[r#"
            job 7 build of acme/web, demand `jobs`
            at the forge: waiting
            labels: [gpu], class: none
            run: job-7 Waiting

            why:
              NoClass: no class serves the labels [gpu\u{1b}]

            attempts:
              attempt 1 of 1: decided 2026-01-01T12:00:00Z, class gpu, refused: the cloud has no capacity, ended: the cloud has no capacity
        "#]]
        .assert_eq(&explain_job(&job, Detail::Table));
        let mut job = job;
        job.attempts[0].machine = Some("i-0f3c21".into());
        job.attempts[0].zone = Some("eu-west-1b\u{1b}".into());
        job.attempts[0].hourly_micro_usd = Some(400_500);
        let text = explain_job(&job, Detail::Table);
        let machine = ", machine i-0f3c21, g5.xlarge, spot, eu-west-1b\\u{1b}, $0.4005/h, refused";
        assert!(text.contains(machine), "{text}");
        let text = explain_job(&job, Detail::Wide);
        assert!(text.contains("attempt 1 of 1 (number 1): decided"), "{text}");
    }
}
