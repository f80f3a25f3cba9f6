//! Snapshots of tables.

use expect_test::expect;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    BootStop, MachineState, Market, Outcome, Phase, Reason, Run, SpotBreaker,
};
use tinqs_ci_reconciler::text::is_dangerous;
use unicode_width::UnicodeWidthStr as _;

use super::{attempt, before, condition, describe, now, run, runs, succeeded};
use crate::api::{self, BudgetUse, MachineActivity, MachineJob};
use crate::commands::print::{
    Cell, Column, Detail, Listed, Screen, Table, Tone, columns::aligned, table,
};

/// Returns the table as a pipe gets it: nothing is cut, colored or linked.
pub(super) fn shown<T: Listed>(things: &[T], detail: Detail) -> String {
    table(things, detail, now()).lines(Screen::default(), &mut Vec::new(), true)
}

/// Returns the table as on a terminal of this width, without colors and links.
fn at<T: Listed>(things: &[T], width: usize) -> String {
    let screen = Screen { width: Some(width), ..Screen::default() };
    table(things, Detail::Table, now()).lines(screen, &mut Vec::new(), true)
}

/// Returns a waiting run of a job in a repository.
fn named(id: i64, repo: &str, job: &str) -> Run {
    let mut run = run(id, Phase::Waiting);
    run.spec.about.repo = repo.into();
    run.spec.about.job = job.into();
    run
}

fn finished(id: i64, outcome: Outcome) -> Run {
    let mut run = run(id, Phase::Finished);
    run.status.outcome = Some(outcome);
    run
}

#[test]
fn runs_fit_eighty_columns() {
    let mut runs = runs();
    runs.push(succeeded());
    runs.extend([finished(7, Outcome::Failed), finished(8, Outcome::Cancelled)]);
    let mut deleted = run(9, Phase::Waiting);
    deleted.deleted_at = Some(before(10));
    deleted.status.conditions = vec![condition(Reason::Deleted, "the run is deleted")];
    runs.push(deleted);
    let text = at(&runs, 80);
    expect![[r#"
        NAME      JOB                                 STATUS       WAIT  AGE  REASON
        job-4812  acme/web build (22)                 ● running    41s   3m
        job-4813  acme/web build (22)                 ○ starting   3m    3m
        job-4077  acme/web e2e                        ○ waiting    3m    3m   NoCapacity
        job-5     acme/web build (22)                 ● running    -     3m
        job-6     x/\u{…2e}y \u{1b}[2Jjj…jjjjjjjjjjj  ✗ gave up    -     3m
        job-4790  acme/web build (22)                 ✓ succeeded  1m    3m
        job-7     acme/web build (22)                 ✗ failed     -     3m
        job-8     acme/web build (22)                 – canceled   -     3m
        job-9     acme/web build (22)                 – deleted    3m    3m   Deleted
    "#]]
    .assert_eq(&text);
    assert!(!text.replace('\n', "").chars().any(is_dangerous));
    assert!(text.lines().all(|line| line.width() <= 80), "{text}");
}

#[test]
fn the_legs_of_a_matrix_stay_apart_at_eighty_columns() {
    let repo = "platform-team/checkout-service";
    let legs: Vec<Run> = (1..)
        .zip(["1.25", "1.26", "1.27"])
        .map(|(id, version)| {
            let mut run =
                named(104_810 + id, repo, &format!("integration-tests (ubuntu-24.04, {version})"));
            run.status.conditions = vec![condition(Reason::MachineReassigned, "another job")];
            run
        })
        .collect();
    let text = at(&legs, 80);
    expect![[r#"
        NAME        JOB                          STATUS     WAIT  AGE  REASON
        job-104811  platf…vice integrat…, 1.25)  ○ waiting  3m    3m   MachineReassigned
        job-104812  platf…vice integrat…, 1.26)  ○ waiting  3m    3m   MachineReassigned
        job-104813  platf…vice integrat…, 1.27)  ○ waiting  3m    3m   MachineReassigned
    "#]]
    .assert_eq(&text);
    for (line, end) in text.lines().skip(1).zip(["1.25)", "1.26)", "1.27)"]) {
        assert!(line.contains(end) && line.width() <= 80, "{line}");
    }
    let text = shown(&legs, Detail::Table);
    assert!(text.contains(&format!("{repo} integration-tests (ubuntu-24.04, 1.27)")), "{text}");
}

#[test]
fn a_narrow_terminal_shows_what_fits() {
    for width in 0..60 {
        let text = at(&runs(), width);
        assert_eq!(text.lines().count(), 6, "at {width}:\n{text}");
        assert!(text.contains("job-4812"), "the name stays whole at {width}:\n{text}");
    }
    expect![[r#"
        NAME      JOB           STATUS      WAIT  AGE  REASON
        job-4812  build (22)    ● running   41s   3m
        job-4813  build (22)    ○ starting  3m    3m
    "#]]
    .assert_eq(&at(&runs()[..2], 20));
}

#[test]
fn the_number_of_a_workflow_run_is_the_one_that_the_forge_shows() {
    let number = |url: &str| {
        let mut run = run(1, Phase::Waiting);
        run.spec.about.url = url.into();
        let text = shown(&[run], Detail::Table);
        text.split_once("acme/web#")
            .map(|(_, rest)| rest.split(' ').next().unwrap_or("").to_owned())
    };
    // Gitea 1.25 has the number there, 1.26 and newer the ID, which is 812.
    let cases = [
        ("https://git.example.com/acme/web/actions/runs/31/jobs/0", Some("31")),
        ("https://git.example.com/acme/web/actions/runs/31", Some("31")),
        ("https://git.example.com/acme/web/actions/runs/812/jobs/4812", None),
        ("https://git.example.com/acme/web/actions/runs/x/jobs/0", None),
        ("https://git.example.com/acme/web/actions/runs/-3/jobs/0", None),
        ("https://git.example.com/acme/web", None),
        ("", None),
    ];
    for (url, expected) in cases {
        assert_eq!(number(url).as_deref(), expected, "{url}");
    }
}

#[test]
fn wide_tables_show_more_columns() {
    let mut all = runs()[..4].to_vec();
    all.push(succeeded());
    let text = shown(&all, Detail::Wide);
    expect![[r#"
        NAME      JOB                  STATUS       WAIT  AGE  CLASS  MACHINE                   ATTEMPTS  RUNNER                      LABELS  BRANCH  COMMIT      REASON
        job-4812  acme/web build (22)  ● running    41s   3m   linux  tq-job-4812-aaaaaaaa-1-0  1         tq-job-4812-9d1d15fec04f-1  linux   main    0123456789
        job-4813  acme/web build (22)  ○ starting   3m    3m   linux  <pending>                 1         -                           linux   main    0123456789
        job-4077  acme/web e2e         ○ waiting    3m    3m   -      <none>                    0         -                           linux   main    0123456789  NoCapacity
        job-5     acme/web build (22)  ● running    -     3m   -      <job-4813>                0         tq-job-4813-12345678-1      linux   main    0123456789
        job-4790  acme/web build (22)  ✓ succeeded  1m    3m   linux  i-0aaaaaaaaaaaaaaa4       2         tq-job-4790-9d1df11a0dd6-4  linux   main    0123456789
    "#]].assert_eq(&text);
    let text = shown(&runs()[4..], Detail::Wide);
    assert!(!text.replace('\n', "").chars().any(is_dangerous));
    assert!(text.lines().all(|line| line.width() < 2_500), "even hostile names have a limit");
}

/// Returns the terminal column where `word` begins.
fn column(line: &str, word: &str) -> Option<usize> {
    line.find(word).map(|start| line[..start].width())
}

#[test]
#[allow(clippy::unicode_not_nfc, reason = "a name with a combining mark is the case")]
fn columns_are_aligned_by_display_width() {
    let names = [
        "ビルド",
        "単体テストと結合テストと受け入れ試験 (🚀, 1.27)",
        "🚀 deploy ✅",
        "café e\u{301}té",
    ];
    let runs: Vec<Run> = (1..).zip(names).map(|(id, name)| named(id, "acme/web", name)).collect();
    let text = at(&runs, 70);
    expect![[r#"
        NAME   JOB                                STATUS     WAIT  AGE  REASON
        job-1  acme/web ビルド                    ○ waiting  3m    3m
        job-2  acme/web 単体テ…れ試験 (🚀, 1.27)  ○ waiting  3m    3m
        job-3  acme/web 🚀 deploy ✅              ○ waiting  3m    3m
        job-4  acme/web café été                  ○ waiting  3m    3m
    "#]]
    .assert_eq(&text);
    for line in text.lines().skip(1) {
        assert_eq!(column(line, "○ waiting"), column(&text, "STATUS"), "{line}");
        assert!(line.width() <= 70 && !line.ends_with(' '), "{line}");
    }
    let text = shown(&runs, Detail::Table);
    assert!(text.contains(names[1]), "{text}");
    for line in text.lines().skip(1) {
        assert_eq!(column(line, "○ waiting"), column(&text, "STATUS"), "{line}");
    }
}

#[test]
fn colors_and_links_take_no_column() {
    let mut hostile = run(2, Phase::Running);
    hostile.spec.about.url = "https://x/\u{1b}\\\u{1b}[2J".into();
    let mut unlinked = run(3, Phase::Running);
    unlinked.spec.about.url = "javascript:alert(1)".into();
    let things = [succeeded(), hostile, unlinked];
    let table = table(&things, Detail::Table, now());
    let plain = table.lines(Screen::default(), &mut Vec::new(), true);
    let screen = Screen { width: None, color: true, links: true };
    let rich = table.lines(screen, &mut Vec::new(), true);
    assert!(
        rich.contains("\u{1b}]8;;https://git.example.com/acme/web/actions/runs/812/jobs/0\u{1b}\\")
    );
    assert!(rich.contains("\u{1b}]8;;https://x/%1B\\%1B[2J\u{1b}\\"), "{rich:?}");
    assert!(!rich.contains("javascript"), "{rich:?}");
    assert!(rich.contains("\u{1b}[32m✓ succeeded\u{1b}[0m"), "{rich:?}");
    assert_eq!(without_escapes(&rich), plain);
}

/// Removes escape sequences for color and links.
fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = match after.strip_prefix(']') {
            Some(link) => link.split_once("\u{1b}\\").expect("a link ends").1,
            None => after.split_once('m').expect("a color ends").1,
        };
    }
    plain + rest
}

fn view(id: &str, doing: MachineActivity) -> api::MachineView {
    let state = match doing {
        MachineActivity::Booting => MachineState::Booting,
        MachineActivity::Idle | MachineActivity::Job | MachineActivity::Up => MachineState::Up,
        MachineActivity::Ending => MachineState::Ending,
        MachineActivity::Gone => MachineState::Gone,
    };
    let job = MachineJob {
        run: "job-4812".into(),
        repo: "acme/web".into(),
        name: "build (22)".into(),
        url: String::new(),
    };
    api::MachineView {
        id: id.into(),
        attempt_id: "tq-job-4812-aaaaaaaa-1".into(),
        run: "job-4812".into(),
        class: "linux".into(),
        kind: "process".into(),
        zone: String::new(),
        market: Market::OnDemand,
        state,
        doing,
        job: (doing == MachineActivity::Job).then_some(job),
        launched_at: before(90),
        deadline: now() + SignedDuration::from_hours(5),
        hourly_micro_usd: (doing == MachineActivity::Job).then_some(1_640_000),
        cost_micro_usd: (doing == MachineActivity::Job).then_some(41_000),
    }
}

#[test]
fn machines_show_what_they_do() {
    let late = api::MachineView { deadline: before(5), ..view("late", MachineActivity::Up) };
    let machines = [
        view("tq-job-4812-aaaaaaaa-1-0", MachineActivity::Job),
        view("i-0123456789abcdef0", MachineActivity::Idle),
        view("new", MachineActivity::Booting),
        late,
        view("ends", MachineActivity::Ending),
        view("old", MachineActivity::Gone),
    ];
    let text = at(&machines, 80);
    expect![[r#"
        NAME                      DOING                    RUN       ENDS   AGE  REASON
        tq-job-4812-aaaaaaaa-1-0  job acme/web build (22)  job-4812  in 5h  1m
        i-0123456789abcdef0       idle                     job-4812  in 5h  1m
        new                       booting                  job-4812  in 5h  1m
        late                      up                       job-4812  in 0s  1m   overdue
        ends                      ending                   job-4812  -      1m
        old                       gone                     job-4812  -      1m
    "#]]
    .assert_eq(&text);
    expect![[r#"
        NAME                      DOING                    RUN       ENDS   AGE  CLASS  KIND     MARKET     STATE  ZONE  ATTEMPT                 DEADLINE              COST   REASON
        tq-job-4812-aaaaaaaa-1-0  job acme/web build (22)  job-4812  in 5h  1m   linux  process  on-demand  up     -     tq-job-4812-aaaaaaaa-1  2026-11-24T17:00:00Z  $0.04
        i-0123456789abcdef0       idle                     job-4812  in 5h  1m   linux  process  on-demand  up     -     tq-job-4812-aaaaaaaa-1  2026-11-24T17:00:00Z  –
    "#]].assert_eq(&shown(&machines[..2], Detail::Wide));
}

#[test]
fn registrations_and_classes_are_listed() {
    let registration = api::Registration {
        id: 4711,
        attempt_id: "tq-job-4812-aaaaaaaa-1".into(),
        run: "job-4812".into(),
        online: true,
        busy: false,
    };
    expect![[r#"
        NAME  RUN       ATTEMPT                 ONLINE  BUSY
        4711  job-4812  tq-job-4812-aaaaaaaa-1  yes     no
    "#]]
    .assert_eq(&shown(&[registration], Detail::Table));

    let mut class = api::Class {
        name: "linux".into(),
        labels: vec!["linux".into(), "x64".into()],
        limit: Some(10),
        repo_limit: None,
        owner_limit: Some(6),
        budget: Some(BudgetUse {
            per_day_micro_usd: 5_000_000,
            spent_today_micro_usd: Some(1_204_000),
        }),
        repos: Vec::new(),
        seats: 10,
        seats_by_repo: Vec::new(),
        serves_unlabeled: false,
        security_groups: Vec::new(),
        instance_profile: None,
        machines: 10,
        open_runs: 14,
        waiting_runs: 4,
        blocked_by: vec![Reason::AtLimit, Reason::BackingOff],
        unavailable: Vec::new(),
        boot_stop: None,
        spot_breaker: None,
    };
    expect![[r#"
        NAME   LABELS     LIMIT  PER-REPO  PER-OWNER  SEATS  MACHINES  OPEN  WAITING  REASON
        linux  linux,x64  10     -         6          10     10        14    4        AtLimit, BackingOff
    "#]]
    .assert_eq(&shown(std::slice::from_ref(&class), Detail::Table));
    (class.limit, class.repos) = (None, vec!["acme/site".into(), "acme/infra-*".into()]);
    expect![[r#"
        NAME   LABELS     REPOS                   LIMIT  PER-REPO  PER-OWNER  BUDGET          SEATS  MACHINES  OPEN  WAITING  REASON
        linux  linux,x64  acme/site,acme/infra-*  none   -         6          $1.20 of $5.00  10     10        14    4        AtLimit, BackingOff
    "#]]
    .assert_eq(&shown(std::slice::from_ref(&class), Detail::Wide));
    let at = Timestamp::UNIX_EPOCH;
    class.boot_stop = Some(BootStop { machines: 4, since: at, until: at, launch_failed: false });
    class.spot_breaker = Some(SpotBreaker { interruptions: 3, since: at, until: at });
    let text = shown(&[class], Detail::Wide);
    let preferred = "on-demand first after 3 interruptions (until 1970-01-01T00:00:00Z)";
    assert!(text.contains(preferred), "{text}");
    let known = "BackingOff, 4 machines never came online (next one 1970-01-01T00:00:00Z)";
    assert!(text.contains(known), "{text}");
}

#[test]
fn rows_printed_later_keep_the_column_widths() {
    let mut widths = Vec::new();
    let table = |cells: &[&str]| Table {
        columns: vec![Column::shrinking("NAME"), Column::whole("AGE")],
        rows: vec![cells.iter().map(|cell| Cell::from(*cell)).collect()],
    };
    let screen = Screen { width: Some(20), ..Screen::default() };
    let first = table(&["a-long-name", "1s"]).lines(screen, &mut widths, true);
    let second = table(&["b", "2s"]).lines(screen, &mut widths, false);
    let third = table(&["a-name-that-does-not-fit", "3s"]).lines(screen, &mut widths, false);
    assert_eq!(first, "NAME         AGE\na-long-name  1s\n");
    assert_eq!(second, "b            2s\n");
    assert_eq!(third, "a-name-…not-fit  3s\n");
}

#[test]
fn empty_cells_show_a_dash_except_the_last() {
    let table = Table {
        columns: vec![Column::whole("A"), Column::whole("B"), Column::whole("REASON")],
        rows: vec![vec![Cell::default(), Cell::from("x").tone(Tone::Good), Cell::default()]],
    };
    let text = table.lines(Screen::default(), &mut Vec::new(), true);
    assert_eq!(text, "A  B  REASON\n-  x\n");
}

#[test]
fn rows_without_titles_are_aligned() {
    let rows = [["+", "単体", "x"], ["-", "b", "yy"]].map(|row| row.map(str::to_owned).to_vec());
    assert_eq!(aligned(&rows, 1, &[1, 6]), "+ 単体   x\n- b      yy\n");
}

#[test]
fn the_machine_of_a_job_that_is_over_may_be_held() {
    let mut run = run(4812, Phase::Finished);
    let mut last = attempt(&run, 1, Some("i-1"));
    last.boot.hold = SignedDuration::from_mins(30);
    let attempt_id = last.runner.name.clone();
    run.status.runner = Some(attempt_id.clone());
    run.status.attempt = Some(last);
    run.status.outcome = Some(Outcome::Failed);
    run.status.finished_at = Some(before(30));
    let machine = [api::MachineView { attempt_id, ..view("i-1", MachineActivity::Up) }];
    let text = |run: &Run| describe(run, &machine, &[], Detail::Table, now());
    let told = text(&run);
    assert!(told.contains(", may be held until 2026-11-24T12:29:30Z\n"), "{told}");
    run.status.outcome = Some(Outcome::Cancelled);
    assert!(!text(&run).contains("may be held"));
}
