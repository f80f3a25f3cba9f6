//! Options of a machine: kept, checked against each other, and refused as by EC2.

use serde_json::{Value, json};
use tinqs_ci_simulator::ec2_wire::Ec2Options;

use super::{Answer, Cloud};

const IOPS: &str = "BlockDeviceMapping.1.Ebs.Iops";
const THROUGHPUT: &str = "BlockDeviceMapping.1.Ebs.Throughput";
const SIZE: &str = "BlockDeviceMapping.1.Ebs.VolumeSize";
const KIND: &str = "BlockDeviceMapping.1.Ebs.VolumeType";
const KEY: &str = "BlockDeviceMapping.1.Ebs.KmsKeyId";

#[tokio::test]
async fn the_size_and_speed_of_a_disk_fit_each_other() {
    let cloud = Cloud::new(Ec2Options::instant());
    let wrong = "InvalidParameterValue";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[(SIZE, "65537")], wrong),
        (&[(IOPS, "2999")], wrong),
        (&[(IOPS, "80001")], wrong),
        (&[(SIZE, "8"), (IOPS, "4001")], wrong),
        (&[(THROUGHPUT, "124")], wrong),
        (&[(THROUGHPUT, "751")], wrong),
        (&[(SIZE, "100"), (IOPS, "10000"), (THROUGHPUT, "2001")], wrong),
        (&[(KIND, "gp2"), (IOPS, "3000")], "InvalidParameterCombination"),
        (&[(KEY, "a"), ("BlockDeviceMapping.1.Ebs.Encrypted", "")], "InvalidParameterCombination"),
    ];
    for (changed, code) in cases {
        let answer = cloud.launch("t-1", changed).await;
        assert_eq!(answer.error(), (400, (*code).to_owned()), "{changed:?}");
    }
    assert!(cloud.wire.machines().is_empty());
    let made = cloud.launch("t-2", &[(SIZE, "8"), (IOPS, "4000"), (THROUGHPUT, "1000")]).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let disk = cloud.wire.machines()[0].recipe.disks[0].clone();
    assert_eq!((disk.size_gib, disk.iops, disk.throughput), (8, 4_000, 1_000));
}

#[tokio::test]
async fn a_key_that_does_not_exist_ends_the_machine_after_its_launch() {
    let cloud = Cloud::new(Ec2Options::instant());
    let gone = cloud.launch("t-1", &[(KEY, "arn:aws:kms:us-east-1:123456789012:key/gone")]).await;
    assert_eq!(gone.status, 200, "{}", gone.body);
    let good = cloud.launch("t-2", &[(KEY, "arn:aws:kms:us-east-1:123456789012:key/0a1b")]).await;
    assert_eq!(good.status, 200, "{}", good.body);
    let ended: Vec<String> = cloud.wire.machines().into_iter().map(|made| made.reason).collect();
    assert_eq!(ended, ["Client.InternalError", ""]);
}

#[tokio::test]
async fn a_public_address_is_that_of_the_call_or_of_the_subnet() {
    let mut options = Ec2Options::instant();
    options.account.subnets[2].public_addresses = false;
    let cloud = Cloud::new(options);
    let address = |answer: &Answer| !answer.one("ipAddress").is_empty();
    assert!(address(&cloud.launch("t-1", &[]).await));
    assert!(!address(&cloud.launch("t-2", &[("SubnetId", "subnet-b")]).await));
    for (token, subnet, public) in [("t-3", "subnet-a", "false"), ("t-4", "subnet-b", "true")] {
        let interface = [
            ("SubnetId", ""),
            ("SecurityGroupId.1", ""),
            ("NetworkInterface.1.DeviceIndex", "0"),
            ("NetworkInterface.1.SubnetId", subnet),
            ("NetworkInterface.1.SecurityGroupId.1", "sg-1"),
            ("NetworkInterface.1.AssociatePublicIpAddress", public),
        ];
        let made = cloud.launch(token, &interface).await;
        assert_eq!(made.status, 200, "{}", made.body);
        assert_eq!(address(&made), public == "true");
        assert_eq!(address(&cloud.describe(&made.one("instanceId")).await), public == "true");
        // Subnet and groups of the call exclude an interface.
        for kept in 0..2 {
            let mut both = interface.to_vec();
            both.remove(kept);
            let refused = cloud.launch("t-5", &both).await;
            assert_eq!(refused.error(), (400, "InvalidParameterCombination".to_owned()));
        }
    }
}

#[tokio::test]
async fn a_second_hop_breaks_a_rule_unless_it_is_allowed() {
    let hops = [("MetadataOptions.HttpPutResponseHopLimit", "2")];
    for (most_hops, broken) in [(1, vec!["metadata by token, few hops"]), (2, vec![])] {
        let cloud = Cloud::new(Ec2Options { most_hops, ..Ec2Options::instant() });
        let made = cloud.launch("t-1", &hops).await;
        assert_eq!(made.one("httpPutResponseHopLimit"), "2");
        assert_eq!(cloud.rules_broken(), broken);
    }
}

/// Asks for a parameter. Returns status and body.
async fn parameter(cloud: &Cloud, name: &str, authorization: &str) -> (u16, Value) {
    let call = cloud.http.post(cloud.wire.url()).header("x-amz-target", "AmazonSSM.GetParameter");
    let call = call.header("authorization", authorization);
    let answer = call.body(json!({ "Name": name }).to_string()).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[tokio::test]
async fn parameters_are_answered_in_json() {
    let signed = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/ssm/aws4_request";
    let cloud = Cloud::new(Ec2Options::instant());
    cloud.wire.set_parameter("/ci/image", "ami-0123");
    let (status, found) = parameter(&cloud, "/ci/image", signed).await;
    assert_eq!((status, &found["Parameter"]["Value"]), (200, &json!("ami-0123")));
    let (status, gone) = parameter(&cloud, "/ci/gone", signed).await;
    assert_eq!((status, &gone["__type"]), (400, &json!("ParameterNotFound")));
    let (status, unsigned) = parameter(&cloud, "/ci/image", "none").await;
    assert_eq!((status, &unsigned["__type"]), (400, &json!("UnrecognizedClientException")));
    let denied = vec!["ssm:GetParameter".to_owned()];
    let cloud = Cloud::new(Ec2Options { denied, ..Ec2Options::instant() });
    let (status, denied) = parameter(&cloud, "/ci/image", signed).await;
    assert_eq!((status, &denied["__type"]), (400, &json!("AccessDeniedException")));
}
