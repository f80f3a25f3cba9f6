use std::io::Cursor;

use jiff::civil::Date;
use tinqs_ci_reconciler::model::{
    Amount, Attempt, Boot, ClassName, MachineOptions, MachineSpec, Market, Pause, Placement, Run,
    RunName, Runner, RunnerConfig, RunnerSetup, Secret, SeenBy, Spec, UsageKey, decode,
};
use tinqs_ci_reconciler::ports::{InboxItem, Seat};

use super::*;

const TOKEN: &str = "runner-token-canary";
const GIT: &str = "git-token-canary";
const VARIABLE: &str = "variable-canary";

fn at() -> Timestamp {
    "2026-12-01T12:00:00Z".parse().expect("a time")
}

fn linux() -> ClassName {
    ClassName("linux".to_owned())
}

/// Returns a run whose attempt has every kind of credential.
fn run() -> Run {
    let mut run = Run::new("test", RunName::job(7), Spec::default(), SeenBy::Poll, at());
    let envs = [("CACHE_TOKEN".to_owned(), Secret::new(VARIABLE))].into();
    let config = RunnerConfig { envs, ..RunnerConfig::default() };
    let setup = RunnerSetup { config: Some(config), ..RunnerSetup::default() };
    let machine = MachineSpec {
        kind: "process".to_owned(),
        subnet: String::new(),
        market: Market::OnDemand,
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
        runner: Some(Box::new(setup)),
        options: MachineOptions::default(),
    };
    run.version = 5;
    run.status.next = 2;
    run.status.attempt = Some(Attempt {
        number: 1,
        decided_at: at(),
        class: linux(),
        runner: Runner {
            id: 3,
            repo_id: 5,
            uuid: "a-uuid".to_owned(),
            name: run.attempt_id(1).to_string(),
            labels: vec!["linux:host".to_owned()],
            token: Secret::new(TOKEN),
        },
        boot: Boot {
            deadline: at(),
            idle_within: jiff::SignedDuration::from_mins(2),
            start_by: None,
            hold: jiff::SignedDuration::ZERO,
            instance_url: "http://forge".to_owned(),
            git_token: Some(Secret::new(GIT)),
        },
        placements: vec![Placement::new(machine)],
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    });
    run
}

fn items() -> Vec<StoreItem> {
    let (repo, workflow) = ("acme/web".to_owned(), "test.yml".to_owned());
    let key = UsageKey { day: Date::constant(2026, 3, 1), class: linux(), repo, workflow };
    vec![
        StoreItem::Pause(Pause { class: None, since: at(), by: "ops".to_owned() }),
        StoreItem::Delivery(InboxItem::new(at(), "digest", vec![b'{', 0xff, b'\n'])),
        StoreItem::Usage(Usage { key, amount: Amount { jobs: 3, ..Amount::default() } }),
        StoreItem::Run(Box::new(run())),
        StoreItem::Seat {
            class: linux(),
            seat: Seat { attempt_id: run().attempt_id(1), repo: "acme/web".to_owned(), repo_id: 4 },
        },
    ]
}

fn backup(items: Vec<StoreItem>, secrets: bool) -> Vec<u8> {
    let (mut writer, mut bytes) = BackupWriter::begin(&BackupHeader::new("test", at(), secrets));
    // In two parts, one of which is empty.
    bytes.extend(writer.part(SnapshotPart { items: Vec::new(), unreadable: 1 }));
    bytes.extend(writer.part(SnapshotPart { items, unreadable: 0 }));
    bytes.extend(writer.end());
    bytes
}

/// Reads all of a backup.
fn read(bytes: &[u8]) -> Result<Vec<StoreItem>, Flaw> {
    let mut reader = BackupReader::open(Cursor::new(bytes))?;
    let mut items = Vec::new();
    while let Some(item) = reader.next_item()? {
        items.push(item);
    }
    assert_eq!(reader.unreadable(), 1);
    assert!(reader.next_item().expect("still the end").is_none());
    Ok(items)
}

fn flaw(bytes: &[u8]) -> String {
    read(bytes).expect_err("a flaw").to_string()
}

#[test]
fn what_is_written_is_read() {
    let bytes = backup(items(), true);
    assert_eq!(read(&bytes).expect("whole"), items(), "with the credentials and the version");
    let reader = BackupReader::open(Cursor::new(&bytes)).expect("a backup");
    assert_eq!(*reader.header(), BackupHeader::new("test", at(), true));
    let empty = backup(Vec::new(), false);
    assert!(read(&empty).expect("whole").is_empty());
}

#[test]
fn without_secrets_an_attempt_cannot_be_launched() {
    let with = String::from_utf8(backup(items(), true)).expect("text");
    assert!([TOKEN, GIT, VARIABLE].iter().all(|secret| with.contains(secret)));
    let bytes = backup(items(), false);
    let text = String::from_utf8(bytes.clone()).expect("text");
    assert!(![TOKEN, GIT, VARIABLE].iter().any(|secret| text.contains(secret)), "{text}");
    let restored = read(&bytes).expect("whole");
    let Some(StoreItem::Run(restored)) = restored.get(3) else { panic!("{restored:?}") };
    let attempt = restored.status.attempt.as_ref().expect("an attempt");
    assert!(!attempt.can_launch() && !attempt.has_credentials() && attempt.ended.is_none());
    assert_eq!(restored.version, 5);
}

/// A later release may have recorded credentials that this one does not know.
#[test]
fn fields_of_a_later_release_are_kept_with_the_secrets_only() {
    let mut stored: serde_json::Value = serde_json::from_slice(&encode(&run())).expect("JSON");
    stored["status"]["attempt"]["later"] = "later-canary".into();
    let run = decode(&serde_json::to_vec(&stored).expect("JSON")).expect("a run");
    let text = |secrets| {
        let bytes = backup(vec![StoreItem::Run(Box::new(run.clone()))], secrets);
        String::from_utf8(bytes).expect("text")
    };
    assert!(text(true).contains("later-canary"));
    assert!(!text(false).contains("later-canary"), "{}", text(false));
}

#[test]
fn a_backup_that_is_cut_anywhere_is_refused() {
    let bytes = backup(items(), false);
    for length in 0..bytes.len() {
        let error = flaw(&bytes[..length]);
        let expected = if length == 0 { "is not a backup" } else { "it was cut after line" };
        assert!(error.contains(expected), "{length}: {error}");
    }
}

#[test]
fn a_backup_that_is_altered_anywhere_is_refused() {
    let bytes = backup(items(), false);
    for place in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[place] ^= 1;
        let read = std::panic::catch_unwind(|| read(&altered));
        // A number of unreadable items is for people, and not in the checksum.
        let is_refused = !matches!(read, Ok(Ok(_)));
        assert!(is_refused, "byte {place}: {:?}", bytes[place] as char);
    }
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    lines.remove(3);
    assert!(flaw(&lines.concat()).contains("it was altered"), "a line is missing");
    assert!(flaw(&[&bytes[..], b"\n"].concat()).contains("goes on after its end"));
}

#[test]
fn an_item_that_is_there_twice_is_refused() {
    for item in items() {
        let error = flaw(&backup(vec![item.clone(), item], true));
        assert!(error.contains("line 3: the ") && error.contains(" is there twice"), "{error}");
    }
}

#[test]
fn other_files_and_newer_formats_are_refused() {
    for text in ["\n", "[]\n", "{}\n", "GIF89a\n", "{\"format\":\"other\",\"version\":1}\n"] {
        assert!(flaw(text.as_bytes()).contains("is not a backup"), "{text:?}");
    }
    let newer = "{\"format\":\"tinqs-ci-backup\",\"version\":2,\"later\":true}\n";
    let error = flaw(newer.as_bytes());
    assert!(error.contains("a newer tinqs-ci made it, with format 2"), "{error}");
    let odd = "{\"format\":\"tinqs-ci-backup\",\"version\":1}\n";
    assert!(flaw(odd.as_bytes()).contains("line 1: "));
}

#[test]
fn a_flaw_shows_nothing_of_the_line() {
    let (_, mut bytes) = BackupWriter::begin(&BackupHeader::new("test", at(), true));
    for line in ["{\"run\":\"a-canary\"}\n", "{\"a-canary\":1}\n", "{\"pause\":\"a-canary\"}\n"] {
        let begin = bytes.len();
        bytes.extend_from_slice(line.as_bytes());
        let error = flaw(&bytes);
        assert!(error.starts_with("line 2: ") && !error.contains("canary"), "{error}");
        bytes.truncate(begin);
    }
}
