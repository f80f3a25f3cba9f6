"""Every option of a class's machines: asked for in a configuration, and read back from the emulator."""

from asking import all_succeed, until
from recorded import calls, launch
from workflows import matrix

PARAMETER = "/ci/image"
KEY = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d-0000-4000-8000-000000000001"
OPTIONS = """store = "dynamodb:{DDB_TABLE}"
compute = "ec2:{AWS_REGION}"
[aws]
launch_rate = 0.1
launch_burst = 1
[[class]]
name = "linux"
labels = ["linux"]
[class.machines]
image = "ssm:{parameter}"
launch_template = "{template}:2"
markets = ["spot"]
kinds = ["{kinds[0]}", "{kinds[1]}"]
subnets = ["{unpriced}", "{priced}"]
allocation = "price"
security_groups = ["{SECURITY_GROUP}"]
disk_gib = 40
disk_iops = 4000
disk_throughput = 250
disk_encryption = "{key}"
public_address = true
cpu_credits = "standard"
hop_limit = 2
tags = {{ CostCenter = "ci" }}
"""
# Seconds between two launches by `launch_rate`, of which EC2 tells whole ones.
APART = 10 - 1
# Of these no other scenario loses a machine: a pool that lost one lately comes last.
KINDS = ("t3.medium", "t3.large")


def prepared(cloud, image):
    """Makes what the configuration names. Returns the names."""
    cloud.client("ssm").put_parameter(Name=PARAMETER, Value=image["ImageId"], Type="String")
    ec2 = cloud.ec2
    versions = [{"KeyName": "first"}, {"KeyName": "pinned", "TagSpecifications": [
        {"ResourceType": "instance", "Tags": [{"Key": "Team", "Value": "of-the-template"}]}]}]
    made = ec2.create_launch_template(LaunchTemplateName="ci", LaunchTemplateData=versions[0])
    template = made["LaunchTemplate"]["LaunchTemplateId"]
    ec2.create_launch_template_version(LaunchTemplateId=template, LaunchTemplateData=versions[1])
    vpc = ec2.describe_subnets()["Subnets"][0]["VpcId"]

    def subnet(zone, network):
        """Without a public address of its own."""
        made = ec2.create_subnet(VpcId=vpc, AvailabilityZone=f"us-east-1{zone}", CidrBlock=network)
        return made["Subnet"]["SubnetId"]

    # moto has one price for all pools, and none where a zone does not have the kind.
    unpriced, priced = subnet("e", "172.31.96.0/20"), subnet("a", "172.31.112.0/20")
    return {"template": template, "unpriced": unpriced, "priced": priced, "parameter": PARAMETER, "key": KEY,
            "kinds": KINDS}


def other_image(cloud, than):
    """Returns an image with another root device, so that nothing of the other one fits."""
    return next(i for i in cloud.ec2.describe_images()["Images"] if i.get("Architecture") == "x86_64"
                and i.get("RootDeviceType") == "ebs" and i.get("Platform") != "windows"
                and i["ImageId"] != than and i["RootDeviceName"] == "/dev/xvda")


def told(cloud, machine, image, names):
    """Asserts the options that the emulator keeps."""
    assert machine["ImageId"] == image["ImageId"], machine["ImageId"]
    assert machine["InstanceType"] == KINDS[0] and machine["InstanceLifecycle"] == "spot", machine
    # The order of the configuration would take the first subnet.
    assert machine["SubnetId"] == names["priced"], machine["SubnetId"]
    assert machine["MetadataOptions"]["HttpPutResponseHopLimit"] == 2, machine["MetadataOptions"]
    assert machine["MetadataOptions"]["HttpTokens"] == "required", machine["MetadataOptions"]
    # Of the pinned version, which is not the default one.
    assert machine["KeyName"] == "pinned", machine["KeyName"]
    id = machine["InstanceId"]
    found = cloud.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [id]}])["Tags"]
    tags = {tag["Key"]: tag["Value"] for tag in found}
    assert tags["CostCenter"] == "ci" and tags["tinqs-ci"] == "tinqs-ci", tags
    assert tags["Team"] == "of-the-template", tags
    assert tags["aws:ec2launchtemplate:id"] == names["template"], tags
    assert tags["aws:ec2launchtemplate:version"] == "2", tags
    attribute = cloud.ec2.describe_instance_attribute(
        InstanceId=id, Attribute="instanceInitiatedShutdownBehavior")
    assert attribute["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate", attribute


def told_while_it_lives(cloud, machine, image, group):
    """Asserts the disk and the address, which end with the machine."""
    filters = [{"Name": "attachment.instance-id", "Values": [machine["InstanceId"]]}]
    (disk,) = cloud.ec2.describe_volumes(Filters=filters)["Volumes"]
    (attached,) = machine["BlockDeviceMappings"]
    assert attached["DeviceName"] == image["RootDeviceName"], attached
    assert attached["Ebs"]["VolumeId"] == disk["VolumeId"] and attached["Ebs"]["DeleteOnTermination"], attached
    assert (disk["Size"], disk["VolumeType"]) == (40, "gp3"), disk
    assert disk["Encrypted"] and disk["KmsKeyId"] == KEY, disk
    tags = {tag["Key"]: tag["Value"] for tag in disk["Tags"]}
    assert tags["CostCenter"] == "ci" and tags["tinqs-ci"] == "tinqs-ci", tags
    (interface,) = machine["NetworkInterfaces"]
    assert interface["Association"]["PublicIp"] == machine["PublicIpAddress"], machine
    assert [one["GroupId"] for one in interface["Groups"]] == [group], interface


def recorded(asked):
    """Asserts the options that moto forgets (iops, throughput, tags of other resources) or always tells
    the same way (credits), in what it was asked for."""
    disk = "BlockDeviceMapping.1.Ebs."
    assert (asked[f"{disk}Iops"], asked[f"{disk}Throughput"]) == ("4000", "250"), asked
    assert asked["CreditSpecification.CpuCredits"] == "standard", asked
    kinds = {value: name.removesuffix("ResourceType") for name, value in asked.items()
             if name.startswith("TagSpecification.") and name.endswith("ResourceType")}
    assert set(kinds) == {"instance", "volume", "network-interface", "spot-instances-request"}, kinds
    for tagged in kinds.values():
        tags = {asked[name]: asked[f"{name.removesuffix('Key')}Value"] for name in asked
                if name.startswith(tagged) and name.endswith(".Key")}
        assert tags["CostCenter"] == "ci" and tags["tinqs-ci"] == "tinqs-ci", tags


def options_of_machines(forge, cloud, host):
    """Two jobs, each on a machine with every option of `[class.machines]`, launched at the rate of `[aws]`."""
    image = other_image(cloud, host.environment["RUNNER_AMI"])
    names, group = prepared(cloud, image), host.environment["SECURITY_GROUP"]
    file = host.dir / "options.toml"
    file.write_text(OPTIONS.format(**host.environment, **names))
    before = {machine["InstanceId"] for machine in cloud.machines()}

    def new():
        return [machine for machine in cloud.machines() if machine["InstanceId"] not in before]

    cloud.boot(False)
    with host.varied(TINQS_CI_CONFIG=str(file)):
        said = host.said("doctor")
        assert " 0 failed" in said, said
        forge.push("options", ".gitea/workflows/a.yml", matrix(2, 0))
        machines = until("two machines", lambda: len(new()) == 2 and new(), 90)
        for machine in machines:
            told_while_it_lives(cloud, machine, image, group)
        cloud.boot(True)
        all_succeed(forge, "options", 2, 120)
        for job in forge.jobs("options"):
            recorded(launch(cloud.dir, job["id"]))
            assert "chosen by price" in host.said("describe", f"job-{job['id']}")
    for machine in new():
        told(cloud, machine, image, names)
    first, second = sorted(machine["LaunchTime"] for machine in machines)
    apart = (second - first).total_seconds()
    print(f"       the second machine was launched {apart:.0f} s after the first one", flush=True)
    assert apart >= APART, f"launched at {first} and {second}"
    asked = calls(cloud.dir, "DescribeSpotPriceHistory")
    kinds = [{value for name, value in call.items() if name.startswith("InstanceType.")} for call in asked]
    # Others may be read with them, for the costs of earlier machines.
    assert any(of >= set(KINDS) for of in kinds), kinds
