//! The places where the program finds its credentials, as `doctor` names them.

use jiff::SignedDuration;

use super::place::{Place, Report};

/// The variables of credentials, unset, so that those of the profile count.
pub(crate) fn unset() -> Vec<(&'static str, String)> {
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name, String::new())).to_vec()
}

/// A profile that assumes a role, as the one that another role was assumed with.
fn chain(place: &Place) -> Vec<(&'static str, String)> {
    place.configure_aws(
        "[profile ci]\nrole_arn = arn:aws:iam::123456789012:role/machines\nsource_profile = hub\n\
         [profile hub]\nrole_arn = arn:aws:iam::123456789012:role/hub\nsource_profile = base\n\
         [profile base]\naws_access_key_id = AKIDBASE\n\
         aws_secret_access_key = canary-of-the-base-key\n",
    );
    [unset(), vec![("AWS_PROFILE", "ci".to_owned())]].concat()
}

/// Asserts that this identity was found, and where.
#[track_caller]
pub(crate) fn found(report: &Report, identity: &str, origin: &str) {
    let check = report.one("aws");
    assert_eq!(check.status, "ok", "{report:#?}");
    let says = format!("{identity}, credentials {origin}, us-east-1");
    assert!(check.message.ends_with(&says), "{says}: {report:#?}");
    assert_eq!(report.one("class: launch").status, "ok", "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_may_come_from_the_environment() {
    let place = Place::new().await;
    found(&place.doctor(&[]).await, "user/AKIDDOCTOR", "of the environment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_may_come_from_a_process() {
    let place = Place::new().await;
    let answer = r#"{"Version": 1, "AccessKeyId": "AKIDPROCESS", "SecretAccessKey": "s"}"#;
    place.configure_aws(&format!("[default]\ncredential_process = /bin/echo '{answer}'\n"));
    let report = place.doctor(&unset()).await;
    found(&report, "user/AKIDPROCESS", "of profile default, by credential_process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_may_come_from_a_profile() {
    let place = Place::new().await;
    let keys = "aws_access_key_id = AKIDPROFILE\naws_secret_access_key = canary-of-the-key";
    place.configure_aws(&format!("[profile ci]\n{keys}\n"));
    let named = [unset(), vec![("AWS_PROFILE", "ci".to_owned())]].concat();
    found(&place.doctor(&named).await, "user/AKIDPROFILE", "of profile ci");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_may_be_assumed_with_another() {
    let place = Place::new().await;
    let report = place.doctor(&chain(&place)).await;
    found(&report, "assumed-role/machines/session", "of profile ci, by assuming its role");
    let said = format!("{report:?}");
    assert!(!said.contains("canary"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_not_be_assumed_is_named() {
    let place = Place::of(|options| options.denied = vec!["sts:AssumeRole".to_owned()]).await;
    let report = place.doctor(&chain(&place)).await;
    let check = report.one("aws");
    assert_eq!(check.status, "fail", "{report:#?}");
    assert!(check.message.contains("AccessDenied"), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_of_a_role_are_asked_for_again_before_they_expire() {
    let mut asked = Vec::new();
    // The second are about to expire whenever they are used.
    for session in [SignedDuration::from_hours(1), SignedDuration::from_secs(2)] {
        let place = Place::of(|options| options.session = session).await;
        let report = place.doctor(&chain(&place)).await;
        found(&report, "assumed-role/machines/session", "of profile ci, by assuming its role");
        asked.push(place.ec2.ledger().count("AssumeRole"));
    }
    assert!(asked[0] >= 2, "both roles: {asked:?}");
    assert!(asked[1] > asked[0], "{asked:?}");
}
