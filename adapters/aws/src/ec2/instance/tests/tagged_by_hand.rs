//! Tags can be set by hand on any instance of the account, its client token cannot: no tags turn an
//! instance that we did not launch into ours.

use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tinqs_ci_reconciler::model::{RunName, Uid8};

use super::*;

/// Installations of one account; ours is the first.
const INSTALLATIONS: &[&str] = &[INSTALLATION, "tinqs-ci-2", "another"];

/// A launch by one of them.
#[derive(Clone, Debug)]
struct Launch {
    installation: &'static str,
    attempt_id: AttemptId,
    placement: u32,
}

impl Launch {
    fn token(&self) -> String {
        tags::token(self.installation, &self.attempt_id, self.placement)
    }

    fn tags(&self) -> Vec<Tag> {
        tags::write(self.installation, &self.attempt_id, self.placement, &attempt(1))
    }
}

/// Few values, so that two launches often share the run, incarnation, attempt or placement.
fn launches() -> impl Strategy<Value = Launch> {
    let run = prop_oneof![
        (7_i64..9).prop_map(RunName::job),
        Just(RunName::job(i64::MAX)),
        Just(RunName::push(&["a push"])),
    ];
    let uid = prop_oneof![Just("0a1b2c3d"), Just("00000000")];
    let number = prop_oneof![1_u32..4, Just(u32::MAX)];
    (proptest::sample::select(INSTALLATIONS), run, uid, number, 0_u32..3).prop_map(
        |(installation, run, uid, number, placement)| {
            let attempt_id = AttemptId { run, uid: Uid8(uid.to_owned()), number };
            Launch { installation, attempt_id, placement }
        },
    )
}

/// An edit of tags that were copied from a machine.
#[derive(Clone, Debug)]
enum Edit {
    /// Another installation's value becomes ours.
    Claim,
    Remove(usize),
    Double(usize),
    Set(usize, String),
    Add(String, String),
}

fn edits() -> impl Strategy<Value = Edit> {
    // As long as EC2 allows a value to be, and longer than any of ours.
    let text = prop_oneof![
        Just(String::new()),
        Just("x".repeat(255)),
        Just("\u{fc}\u{4e2d}\u{1f980}\u{202e}".repeat(20)),
        "[0-9]{1,10}",
        "tq-job-[7-8]-0a1b2c3d-[1-3]",
        Just("2001-01-01T00:00:00Z".to_owned()),
        ".{0,255}",
    ];
    prop_oneof![
        3 => Just(Edit::Claim),
        1 => (0..OURS).prop_map(Edit::Remove),
        1 => (0..OURS).prop_map(Edit::Double),
        2 => (0..OURS, text.clone()).prop_map(|(at, value)| Edit::Set(at, value)),
        1 => (".{0,128}", text).prop_map(|(key, value)| Edit::Add(key, value)),
    ]
}

fn edited(mut tags: Vec<Tag>, edits: &[Edit]) -> Vec<Tag> {
    for edit in edits {
        let left = tags.len();
        match edit {
            Edit::Add(key, value) => tags.push(tag(key, value)),
            _ if left == 0 => {}
            Edit::Claim => {
                let installation = tags.iter_mut().find(|t| t.key() == Some(tags::INSTALLATION));
                if let Some(tag) = installation {
                    tag.value = Some(INSTALLATION.to_owned());
                }
            }
            Edit::Remove(at) => drop(tags.remove(at % left)),
            Edit::Double(at) => tags.push(tags[at % left].clone()),
            Edit::Set(at, value) => tags[at % left].value = Some(value.clone()),
        }
    }
    tags
}

/// The client token that an instance was launched with: by hand, by a fleet, by another launch of
/// ours or of another installation, or almost such a token.
fn tokens() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(String::new())),
        1 => Just(Some("7f1f9a0e-6b5c-4a52-8f27-0c3a6c8a9b10".to_owned())),
        1 => "fleet-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9]".prop_map(Some),
        1 => "[ -~]{0,64}".prop_map(Some),
        1 => ".{0,64}".prop_map(Some),
        6 => launches().prop_map(|launch| Some(launch.token())),
        // Without the installation: the tag `Name` shows this.
        1 => launches().prop_map(|launch| Some(launch.attempt_id.token(launch.placement))),
        1 => (launches(), prop_oneof![Just(" "), Just("0"), Just("-0"), Just("\n")])
            .prop_map(|(launch, more)| Some(format!("{}{more}", launch.token()))),
        1 => launches().prop_map(|launch| Some(launch.token().to_uppercase())),
    ]
}

/// The tags and the client token of an instance that we did not launch. Most have all of our tags.
fn forged() -> impl Strategy<Value = (Vec<Tag>, Option<String>)> {
    let edits = proptest::collection::vec(edits(), 0..5);
    (launches(), proptest::bool::weighted(0.95), edits, tokens()).prop_map(
        |(copied, whole, edits, token)| {
            let copied = if whole { copied.tags() } else { Vec::new() };
            (edited(copied, &edits), token)
        },
    )
}

/// Whether the launch that the tags name would have sent the token. Does not use the tested code.
fn sent_for(tags: &[Tag], token: Option<&str>) -> bool {
    let value = |key: &str| {
        let tag = tags.iter().find(|tag| tag.key() == Some(key));
        tag.and_then(Tag::value).unwrap_or_default()
    };
    let plain = format!("{}-{}-", value("tinqs-ci/attempt"), value("tinqs-ci/placement"));
    // The hash of our own name.
    token.is_some_and(|token| token == format!("{plain}9d1dbc"))
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A launch's own tags with its own token are no forgery.
        max_global_rejects: 10_000,
        ..ProptestConfig::with_cases(10_000)
    })]

    #[test]
    fn no_tags_make_an_instance_ours((tags, token) in forged()) {
        prop_assume!(!sent_for(&tags, token.as_deref()));
        let mut instance = seen(tags);
        instance.client_token = token;
        prop_assert_eq!(ours(INSTALLATION, &instance), None);
        let judged = ownership(INSTALLATION, &instance);
        prop_assert!(!matches!(judged, Ownership::Ours(_)), "{:?}", judged);
    }
}

#[test]
fn most_forged_instances_carry_all_of_our_tags() {
    let keys =
        ["", "/run", "/uid", "/attempt", "/placement", "/registration", "/deadline", "/class"];
    assert_eq!(keys.len(), OURS);
    let (mut runner, forged) = (TestRunner::deterministic(), forged());
    let mut whole = 0;
    for _ in 0..1_000 {
        let (tags, _) = forged.new_tree(&mut runner).expect("an instance").current();
        let has = |key: &&str| {
            let key = format!("tinqs-ci{key}");
            tags.iter().any(|tag| tag.key() == Some(key.as_str()))
        };
        whole += usize::from(keys.iter().all(has));
    }
    assert!(whole > 600, "only {whole} of 1,000 have them");
}

#[test]
fn our_tags_without_our_client_token_are_reported_as_such() {
    let launch = |installation, number, placement| Launch {
        installation,
        attempt_id: AttemptId { number, ..attempt_id() },
        placement,
    };
    let real = launch(INSTALLATION, 3, 1);
    let claimed = edited(launch("another", 3, 1).tags(), &[Edit::Claim]);
    let rows = [
        // Copied to an instance of each other origin.
        (real.tags(), None),
        (real.tags(), Some(String::new())),
        (real.tags(), Some("fleet-1".to_owned())),
        (real.tags(), Some(launch(INSTALLATION, 2, 1).token())),
        (real.tags(), Some(launch(INSTALLATION, 3, 0).token())),
        (real.tags(), Some(real.attempt_id.token(1))),
        // Another installation's machine, tagged as ours.
        (claimed, Some(launch("another", 3, 1).token())),
    ];
    let id = MachineId("i-0123456789abcdef0".to_owned());
    for (tags, token) in rows {
        let mut instance = seen(tags);
        instance.client_token.clone_from(&token);
        let tagged = Ownership::TagsOnly(id.clone(), attempt_id());
        assert_eq!(ownership(INSTALLATION, &instance), tagged, "{token:?}");
    }
    let mut instance = seen(real.tags());
    instance.client_token = Some(real.token());
    assert!(matches!(ownership(INSTALLATION, &instance), Ownership::Ours(_)));
    // Before its tags are visible, or without an ID, it is foreign.
    instance.tags = None;
    assert_eq!(ownership(INSTALLATION, &instance), Ownership::Foreign);
    instance.tags = Some(real.tags());
    instance.instance_id = None;
    assert_eq!(ownership(INSTALLATION, &instance), Ownership::Foreign);
}
