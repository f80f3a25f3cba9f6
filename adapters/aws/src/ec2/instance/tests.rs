use aws_sdk_ec2::types::{
    InstanceState as SeenState, Placement as SeenPlacement, StateReason, Tag,
};
use aws_smithy_types::DateTime;
use proptest::prelude::*;
use tinqs_ci_reconciler::model::{BootPromise, ClassName, Refusal};

use super::super::request::tests::{attempt, attempt_id};
use super::*;

mod tagged_by_hand;

const INSTALLATION: &str = "tinqs-ci";

/// An instance with these tags, launched as the second placement of our attempt.
fn seen(tags: Vec<Tag>) -> Seen {
    Seen::builder()
        .instance_id("i-0123456789abcdef0")
        .client_token(tags::token(INSTALLATION, &attempt_id(), 1))
        .instance_type("c7a.medium".into())
        .instance_lifecycle(InstanceLifecycleType::Spot)
        .launch_time(DateTime::from_secs_and_nanos(1_700_000_000, 500_000_000))
        .placement(SeenPlacement::builder().availability_zone("eu-central-1b").build())
        .state(SeenState::builder().name(InstanceStateName::Running).build())
        .set_tags(Some(tags))
        .build()
}

fn our_tags() -> Vec<Tag> {
    tags::write(INSTALLATION, &attempt_id(), 1, &attempt(2))
}

/// A machine of ours.
pub(in super::super) fn machine() -> Machine {
    ours(INSTALLATION, &seen(our_tags())).expect("it is ours")
}

#[test]
fn a_machine_of_ours_reads_back_as_launched() {
    let machine = machine();
    let attempt = attempt(2);
    let expected = Machine {
        id: MachineId("i-0123456789abcdef0".to_owned()),
        attempt_id: attempt_id(),
        placement: 1,
        state: MachineState::Up,
        launched_at: "2023-11-14T22:13:20.5Z".parse().unwrap(),
        deadline: Timestamp::from_second(attempt.boot.deadline.as_second()).unwrap(),
        registration: attempt.runner.id,
        repo_id: attempt.runner.repo_id,
        promise: Some(BootPromise {
            start_by: Timestamp::from_second(attempt.boot.start_by.unwrap().as_second()).unwrap(),
            idle_within: attempt.boot.idle_within,
            hold: attempt.boot.hold,
        }),
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class: ClassName("linux".to_owned()),
        kind: "c7a.medium".to_owned(),
        zone: "eu-central-1b".to_owned(),
        market: Market::Spot,
    };
    assert_eq!(machine, expected);
    // Neither other tags beside ours nor their order matters.
    let mut more = our_tags();
    more.reverse();
    more.push(tag("aws:autoscaling:groupName", "x"));
    assert_eq!(ours(INSTALLATION, &seen(more)), Some(expected));
}

#[test]
fn ec2_states_and_reasons_are_mapped() {
    use EndedBy::{Cloud, Itself, Request};
    use MachineState::{Booting, Ending, Gone, Up};
    let rows = [
        ("pending", "", Booting, None),
        ("running", "", Up, None),
        // A running machine may still show a reason of its past.
        ("running", "Client.UserInitiatedShutdown", Up, None),
        ("shutting-down", "Client.UserInitiatedShutdown", Ending, Some(Request)),
        ("terminated", "Client.UserInitiatedShutdown", Gone, Some(Request)),
        ("terminated", "Client.InstanceInitiatedShutdown", Gone, Some(Itself)),
        ("shutting-down", "Server.SpotInstanceTermination", Ending, Some(Cloud)),
        ("terminated", "Server.SpotInstanceShutdown", Gone, Some(Cloud)),
        ("terminated", "Server.InsufficientInstanceCapacity", Gone, Some(Cloud)),
        ("terminated", "Server.InternalError", Gone, Some(Cloud)),
        // Its launch failed: nobody ended it.
        ("terminated", "Client.InternalError", Gone, None),
        ("terminated", "Client.VolumeLimitExceeded", Gone, None),
        ("terminated", "Client.InvalidSnapshot.NotFound", Gone, None),
        ("terminated", "Something.New", Gone, None),
        ("terminated", "", Gone, None),
        ("stopping", "Client.UserInitiatedShutdown", Ending, Some(Request)),
        ("stopped", "Client.UserInitiatedShutdown", Gone, Some(Request)),
        ("something-new", "", Booting, None),
    ];
    for (name, reason, state, ended_by) in rows {
        let mut instance = seen(our_tags());
        instance.state = Some(SeenState::builder().name(name.into()).build());
        instance.state_reason =
            (!reason.is_empty()).then(|| StateReason::builder().code(reason).build());
        let machine = ours(INSTALLATION, &instance).unwrap();
        assert_eq!((machine.state, machine.ended_by), (state, ended_by), "{name} {reason}");
    }
}

#[test]
fn the_reason_of_an_end_is_told_with_its_remedy() {
    let told = |name: &str, code: Option<&str>, message: Option<&str>| {
        let mut instance = seen(our_tags());
        instance.state = Some(SeenState::builder().name(name.into()).build());
        let (code, message) = (code.map(str::to_owned), message.map(str::to_owned));
        let reason = StateReason::builder().set_code(code).set_message(message).build();
        instance.state_reason = Some(reason);
        ours(INSTALLATION, &instance).unwrap().state_reason
    };
    let spot = Some("Server.SpotInstanceTermination");
    let text = "Server.SpotInstanceTermination: Spot instance termination";
    let full = Some(text);
    let reason = told("terminated", spot, full).expect("it is over");
    assert_eq!(reason.to_string(), text, "EC2 repeats the code");
    assert_eq!(reason.refusal, None);
    assert_eq!(told("running", spot, full), None, "a reason of its past");
    assert_eq!(told("terminated", None, full), None);
    let bare = told("shutting-down", spot, None).expect("it ends");
    assert_eq!(bare.to_string(), "Server.SpotInstanceTermination");
    let cases = [
        ("Client.InternalError", Refusal::Invalid, "KMS key"),
        ("Client.InvalidSnapshot.NotFound", Refusal::Invalid, "`image`"),
        ("Client.VolumeLimitExceeded", Refusal::Limit, "Service Quotas, EBS"),
    ];
    for (code, refusal, remedy) in cases {
        let reason = told("terminated", Some(code), Some("a\nsentence")).expect("it is over");
        assert_eq!((reason.code.as_str(), reason.refusal), (code, Some(refusal)));
        let begins = reason.message.starts_with("a\\u{a}sentence: ");
        assert!(begins && reason.message.contains(remedy), "{reason}");
    }
}

#[test]
fn an_ended_instance_without_tags_is_recognized_by_its_token_alone() {
    let shown = |name: &str, tags: Vec<Tag>| {
        let mut instance = seen(tags);
        instance.state = Some(SeenState::builder().name(name.into()).build());
        let code = "Server.SpotInstanceTermination";
        instance.state_reason = Some(StateReason::builder().code(code).build());
        instance
    };
    let ended = shown("terminated", Vec::new());
    let Ownership::Untagged(machine) = ownership(INSTALLATION, &ended) else {
        panic!("it was ours");
    };
    assert_eq!((&machine.attempt_id, machine.placement), (&attempt_id(), 1));
    assert_eq!((machine.state, machine.ended_by), (MachineState::Gone, Some(EndedBy::Cloud)));
    assert!(machine.state_reason.is_some());
    // Its record has what only its tags said.
    assert_eq!((machine.registration, machine.promise), (0, None));
    assert_eq!(machine.deadline, Timestamp::MAX);
    // One that has not ended may show its tags later; other tags are somebody's.
    let strangers = [
        shown("running", Vec::new()),
        shown("shutting-down", Vec::new()),
        shown("stopped", Vec::new()),
        shown("terminated", vec![tag("Name", "database")]),
    ];
    for stranger in &strangers {
        assert_eq!(ownership(INSTALLATION, stranger), Ownership::Foreign, "{stranger:?}");
    }
    assert_eq!(ownership("another", &ended), Ownership::Foreign);
    for token in [Some("7f1f9a0e-6b5c".to_owned()), None] {
        let mut other = ended.clone();
        other.client_token = token;
        assert_eq!(ownership(INSTALLATION, &other), Ownership::Foreign, "{other:?}");
    }
}

#[test]
fn a_launched_machine_is_described_by_the_record() {
    let (attempt_id, attempt) = (attempt_id(), attempt(2));
    let ask = Ask::new(INSTALLATION, &attempt_id, 1, &attempt).unwrap();
    let mut answer = seen(Vec::new());
    answer.state = None;
    answer.launch_time = None;
    let now = Timestamp::from_second(7).unwrap();
    let machine = launched(&ask, &answer, now);
    assert_eq!((machine.attempt_id, machine.placement, machine.launched_at), (attempt_id, 1, now));
    assert_eq!(machine.state, MachineState::Booting);
    assert_eq!(machine.deadline, attempt.boot.deadline);
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// Changes that make tags foreign or edited.
#[derive(Clone, Debug)]
enum Stranger {
    /// One of our tags is missing.
    Without(usize),
    /// One of our tags is there twice.
    Twice(usize),
    /// One of our keys is almost ours.
    Key(usize, &'static str, &'static str),
    /// Another installation's value.
    Installation(String),
    /// A value that its key cannot have.
    Value(usize, String),
    /// Arbitrary tags.
    Any(Vec<(String, String)>),
}

/// Every key of ours except `Name`, which is not read.
const OURS: usize = 8;

fn strangers() -> impl Strategy<Value = Stranger> {
    let nearly = prop_oneof![Just(" "), Just("/"), Just("S"), Just("-2"), Just("\u{200b}"),];
    // Never empty, never a valid value of any key: each key checks the form of its own.
    let value = prop_oneof![
        "[a-z ]{0,8}x",
        "\\+[0-9]{1,3}",
        "0[0-9]{1,3}",
        "-[0-9]{0,2}q",
        "tq-job-[0-9]{1,5}-[0-9a-f]{7}-1",
        "job-[0-9]{20,22}",
        Just("tq-job-7-00000000-0 ".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("2026-13-01T00:00:00Z".to_owned()),
    ];
    let any_key = prop_oneof![
        Just("tinqs-ci".to_owned()),
        "tinqs-ci/(run|uid|attempt|placement|registration|repository|deadline|start-by|hold|class)",
        "(tinqs-ci|Tinqs-CI|tinqs|ci)[/:]?[a-z]{0,8}",
        ".{0,20}",
    ];
    let any_value = prop_oneof![Just("tinqs-ci".to_owned()), "[a-z0-9-]{0,20}", ".{0,20}"];
    prop_oneof![
        (0..OURS).prop_map(Stranger::Without),
        (0..OURS).prop_map(Stranger::Twice),
        (0..OURS, nearly.clone(), Just(""))
            .prop_map(|(at, after, before)| Stranger::Key(at, before, after)),
        (0..OURS, nearly).prop_map(|(at, before)| Stranger::Key(at, before, "")),
        prop_oneof![
            "(tinqs-ci|Tinqs-ci|TINQS-CI)[ /.*?-]{1,2}",
            "[a-z-]{0,12}",
            Just("tinqs-ci2".to_owned()),
            Just("Tinqs-CI".to_owned()),
            Just("*".to_owned()),
        ]
        .prop_filter("another's", |value| value != INSTALLATION)
        .prop_map(Stranger::Installation),
        // The class may be any text.
        (1..OURS - 1, value).prop_map(|(at, value)| Stranger::Value(at, value)),
        proptest::collection::vec((any_key, any_value), 0..12).prop_map(Stranger::Any),
    ]
}

fn tags_of(stranger: &Stranger) -> Vec<Tag> {
    let mut all = our_tags();
    match stranger {
        Stranger::Without(at) => drop(all.remove(*at)),
        Stranger::Twice(at) => all.push(all[*at].clone()),
        Stranger::Key(at, before, after) => {
            let key = format!("{before}{}{after}", all[*at].key().unwrap());
            all[*at].key = Some(key);
        }
        Stranger::Installation(value) => all[0].value = Some(value.clone()),
        Stranger::Value(at, value) => all[*at].value = Some(value.clone()),
        Stranger::Any(tags) => all = tags.iter().map(|(key, value)| tag(key, value)).collect(),
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// An instance that is not wholly ours is never returned.
    #[test]
    fn strangers_are_left_alone(stranger in strangers()) {
        prop_assert_eq!(ours(INSTALLATION, &seen(tags_of(&stranger))), None);
    }
}

proptest! {
    /// Written tags read back for every attempt ID, and never for another installation.
    #[test]
    fn ours_is_read_back(job in 0_i64.., number in 1_u32.., placement in 0_u32..100, registration in any::<i64>(), repo_id in any::<i64>()) {
        let mut attempt = attempt(1);
        attempt.runner.id = registration;
        attempt.runner.repo_id = repo_id;
        let attempt_id = tinqs_ci_reconciler::model::AttemptId {
            run: tinqs_ci_reconciler::model::RunName::job(job),
            uid: attempt_id().uid,
            number,
        };
        let all = tags::write("one", &attempt_id, placement, &attempt);
        prop_assert!(all.len() <= 50);
        for tag in &all {
            let fits = |text: &str, most: usize| text.len() <= most && text.is_ascii();
            prop_assert!(fits(tag.key().unwrap(), 128) && fits(tag.value().unwrap(), 256));
        }
        let mut instance = seen(all.clone());
        let token = tags::token("one", &attempt_id, placement);
        prop_assert!(token.len() <= 64 && token.is_ascii());
        let named = tags::named_by("one", &token);
        prop_assert_eq!(named, Some((attempt_id.clone(), placement)));
        prop_assert_eq!(tags::named_by("two", &token), None);
        instance.client_token = Some(token);
        let machine = ours("one", &instance).unwrap();
        prop_assert_eq!((&machine.attempt_id, machine.placement), (&attempt_id, placement));
        let read = tags::read("one", &all).unwrap();
        prop_assert_eq!((read.registration, read.repo_id), (registration, repo_id));
        prop_assert_eq!((read.attempt_id, read.placement), (attempt_id, placement));
        prop_assert_eq!(tags::read("two", &all), None);
    }
}
