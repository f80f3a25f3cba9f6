//! The resources of an account: images, subnets, security groups, instance types, profiles, launch
//! templates.

use std::collections::BTreeMap;

/// An account in one Region.
#[derive(Clone, Debug)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// `us-east-1`.
    pub region: String,
    /// Images available to the account.
    pub images: Vec<Image>,
    /// Subnets.
    pub subnets: Vec<Subnet>,
    /// Security groups.
    pub security_groups: Vec<SecurityGroup>,
    /// Instance types.
    pub types: Vec<InstanceType>,
    /// Names of instance profiles.
    pub profiles: Vec<String>,
    /// ARNs of the KMS keys that may encrypt disks.
    pub keys: Vec<String>,
    /// Launch templates.
    pub launch_templates: Vec<LaunchTemplate>,
}

/// A launch template.
#[derive(Clone, Debug)]
pub struct LaunchTemplate {
    /// `lt-…`.
    pub id: String,
    /// Its versions by number: parameters as of `RunInstances`.
    pub versions: BTreeMap<u32, BTreeMap<String, String>>,
}

impl LaunchTemplate {
    /// Creates a template with one version.
    pub fn new(id: &str, version: u32, parameters: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let versions = BTreeMap::from([(version, parameters.iter().map(owned).collect())]);
        Self { id: id.to_owned(), versions }
    }
}

/// A machine image.
#[derive(Clone, Debug)]
pub struct Image {
    /// `ami-…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `available`, `pending`, …
    pub state: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// `/dev/xvda`.
    pub root_device: String,
    /// Size of its snapshot in GiB.
    pub root_gib: usize,
}

/// Target of the default route in the main route table of each VPC.
pub(super) const MAIN_ROUTE: &str = "igw-1";

/// A subnet.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// `subnet-…`.
    pub id: String,
    /// `us-east-1a`.
    pub zone: String,
    /// `vpc-…`.
    pub vpc: String,
    /// Number of addresses for machines.
    pub addresses: usize,
    /// Whether machines get a public address.
    pub public_addresses: bool,
    /// Target of its default route, `igw-…` or `nat-…`; empty: it has none.
    pub default_route: String,
}

/// A security group.
#[derive(Clone, Debug)]
pub struct SecurityGroup {
    /// `sg-…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `vpc-…`.
    pub vpc: String,
    /// Ports open to everyone.
    pub open_ports: Vec<u16>,
}

/// An instance type.
#[derive(Clone, Debug)]
pub struct InstanceType {
    /// `t3.small`.
    pub name: String,
    /// Virtual processors.
    pub vcpus: usize,
    /// Memory in MiB.
    pub memory_mib: usize,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Zones that offer it.
    pub zones: Vec<String>,
    /// Spot price in dollars per hour.
    pub spot_price: f64,
}

impl Account {
    /// Returns the image with this ID.
    pub fn image(&self, id: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.id == id)
    }

    /// Returns the subnet with this ID.
    pub fn subnet(&self, id: &str) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.id == id)
    }

    /// Returns the security group with this ID.
    pub fn security_group(&self, id: &str) -> Option<&SecurityGroup> {
        self.security_groups.iter().find(|group| group.id == id)
    }

    /// Returns the instance type with this name.
    pub fn kind(&self, name: &str) -> Option<&InstanceType> {
        self.types.iter().find(|kind| kind.name == name)
    }

    /// Returns the launch template with this ID.
    pub fn launch_template(&self, id: &str) -> Option<&LaunchTemplate> {
        self.launch_templates.iter().find(|template| template.id == id)
    }

    /// Returns whether a profile exists, by name or ARN.
    pub fn has_profile(&self, name: &str) -> bool {
        self.profiles.iter().any(|known| known == name || self.profile_arn(known) == name)
    }

    /// Returns whether a disk can be encrypted with this key; an empty one is the default key.
    pub fn has_key(&self, arn: &str) -> bool {
        arn.is_empty() || self.keys.iter().any(|known| known == arn)
    }

    /// Returns the ARN of a profile.
    pub fn profile_arn(&self, name: &str) -> String {
        format!("arn:aws:iam::{}:instance-profile/{name}", self.id)
    }
}

impl Default for Account {
    /// Three subnets in two zones of us-east-1, two images, four instance types, and version 7 of a
    /// launch template that asks for detailed monitoring.
    fn default() -> Self {
        let subnet = |id: &str, zone: &str| Subnet {
            id: id.to_owned(),
            zone: zone.to_owned(),
            vpc: "vpc-1".to_owned(),
            addresses: 251,
            public_addresses: true,
            default_route: MAIN_ROUTE.to_owned(),
        };
        let kind = |name: &str, vcpus, memory_mib, architecture: &str, spot_price| InstanceType {
            name: name.to_owned(),
            vcpus,
            memory_mib,
            architecture: architecture.to_owned(),
            zones: vec!["us-east-1a".to_owned(), "us-east-1b".to_owned()],
            spot_price,
        };
        let image = |id: &str, architecture: &str| Image {
            id: id.to_owned(),
            name: format!("runner-{architecture}"),
            state: "available".to_owned(),
            architecture: architecture.to_owned(),
            root_device: "/dev/xvda".to_owned(),
            root_gib: 8,
        };
        Self {
            id: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            images: vec![image("ami-0123", "x86_64"), image("ami-0456", "arm64")],
            subnets: vec![
                subnet("subnet-a", "us-east-1a"),
                subnet("subnet-a2", "us-east-1a"),
                subnet("subnet-b", "us-east-1b"),
            ],
            security_groups: vec![SecurityGroup {
                id: "sg-1".to_owned(),
                name: "runners".to_owned(),
                vpc: "vpc-1".to_owned(),
                open_ports: Vec::new(),
            }],
            types: vec![
                kind("t3.small", 2, 2048, "x86_64", 0.0075),
                kind("t3a.small", 2, 2048, "x86_64", 0.007),
                kind("c7a.medium", 1, 2048, "x86_64", 0.02),
                kind("t4g.small", 2, 2048, "arm64", 0.006),
            ],
            profiles: vec!["tinqs-ci-runner".to_owned()],
            keys: vec!["arn:aws:kms:us-east-1:123456789012:key/0a1b".to_owned()],
            launch_templates: vec![LaunchTemplate::new(
                "lt-0123",
                7,
                &[("Monitoring.Enabled", "true")],
            )],
        }
    }
}
