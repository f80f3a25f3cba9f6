//! The keys of a class.

use super::runner::RUNNER;
use tinqs_ci_reconciler::model::MachineOptions;

use super::{ANY_TEXT, ANY_TEXTS, Form, Key, NAMED, key};

/// `[[class]]`.
pub(in crate::settings) const CLASS: &[Key] = &[
    key("name", NAMED, "The name of the class in tags, metrics and records.").required(),
    key(
        "labels",
        Form::Texts {
            pattern: "^(\\*|[^\\s:,*]+(:(host|docker)(:[^\\s,]+)?)?)$",
            expected: "a list of labels, each `name`, `name:host` or `name:docker://IMAGE`, or [\"*\"]",
        },
        "The labels of its runners, `name[:schema[:argument]]`. [\"*\"] serves any labels except `host`.",
    )
    .required(),
    key("serves_unlabeled", Form::Switch, "Whether the class also serves jobs without labels.")
        .or("false"),
    key(
        "repos",
        Form::Texts {
            pattern: "^[A-Za-z0-9._*-]+/[A-Za-z0-9._*-]+$",
            expected: "a list of repositories such as [\"acme/site\", \"acme/infra-*\"]",
        },
        "The repositories whose jobs it serves, `owner/name`, in which `*` stands for any part of the owner or of the name; compared without case, as the forge does. The default is every repository in `forge.scope`.",
    ),
    key(
        "limit",
        Form::CountOr("none"),
        "The maximum number of machines; `\"none\"`: no limit.",
    )
    .or("20"),
    key(
        "repo_limit",
        Form::Count,
        "The maximum number of machines for one repository. The default is no limit but `limit`.",
    ),
    key(
        "owner_limit",
        Form::Count,
        "The maximum number of machines for all repositories of one owner, a user or an organization. The default is no limit but `limit`.",
    ),
    key(
        "budget",
        Form::Text {
            pattern: "^(none|\\$[0-9]{1,9}(\\.[0-9]{1,6})?/day)$",
            expected: "an amount such as \"$5/day\", or \"none\"",
        },
        "What its machines may cost per day, in UTC, such as `\"$5/day\"`: beyond it waiting jobs get no more machines until the next day, and running jobs go on. Needs the price of each of its machines on demand in `[prices]`. `\"none\"`: no limit.",
    )
    .or("none"),
    key(
        "rerun",
        Form::Word(&["lost", "never"]),
        "Whether its jobs are run again whose machine the cloud took: `\"lost\"`, or `\"never\"` for jobs with side effects such as deployments. The default is `\"lost\"`, and `\"never\"` for a class whose machines have an `instance_profile`. Needs Gitea 1.26 and a token that may write to Actions of the repositories.",
    ),
    key(
        "rerun_limit",
        Form::CountIn(1, 10),
        "How often a job of a workflow run is run again at most because of that.",
    )
    .or("2"),
    key("boot_within", Form::Duration, "The time from launch until the runner must be online.")
        .or("5m"),
    key(
        "idle_within",
        Form::Duration,
        "How long a runner waits for a job before it shuts down.",
    )
    .or("2m"),
    key("max_age", Form::Duration, "The maximum age of a machine, even mid-job.").or("6h"),
    key("give_up_after", Form::Duration, "A job that waits this long gets no more machines.")
        .or("24h"),
    key(
        "assign_within",
        Form::Duration,
        "How long a displaced job waits for the machine of the job that took its own.",
    )
    .or("60s"),
    key("keep", Form::Duration, "How long a finished run is kept.").or("168h"),
    key(
        "hold",
        Form::Duration,
        "How long a machine stays for a person after a job on the host that touched the file `$TINQS_CI_HOLD`, at the longest until `max_age`. Needs `repos`, and machines without an `instance_profile`.",
    )
    .or("0s"),
    key(
        "machines",
        Form::Table(MACHINES),
        "The machine specs to try: every combination, ordered by market, kind, subnet.",
    ),
    key("runner", Form::Table(RUNNER), "The runner of its machines."),
];

/// The least and the most GiB of a gp3 volume.
pub(in crate::settings) const DISK_GIB: (u32, u32) = (1, 65_536);

/// `[class.machines]`.
pub(in crate::settings) const MACHINES: &[Key] = &[
    key("markets", Form::Words(&["spot", "on-demand"]), "The purchase options.")
        .or("[\"on-demand\"]"),
    key("kinds", ANY_TEXTS, "The instance types; for child processes any name.")
        .or("[\"process\"]"),
    key("subnets", ANY_TEXTS, "The subnet IDs."),
    key(
        "image",
        ANY_TEXT,
        "The image ID, or `ssm:/PATH`: a parameter of AWS Systems Manager that holds one, read when an attempt is decided.",
    ),
    key(
        "launch_template",
        Form::Text {
            pattern: "^lt-[a-z0-9]+:[1-9][0-9]{0,8}$",
            expected: "a launch template and the number of its version such as \"lt-0123456789abcdef0:7\"",
        },
        "A launch template and the number of its version, whose other settings apply to the machines, such as a key pair, monitoring or further disks. What this file or tinqs-ci sets comes first. Refused if it sets a profile, the market, network interfaces, user data, the shutdown behavior, termination protection, hibernation, metadata options, tags of tinqs-ci or a disk that outlives its machine.",
    ),
    key(
        "allocation",
        Form::Word(&["order", "price"]),
        "In which order the machines of a market are tried: as listed, or by the current spot price of their pools, and last those that had no capacity in the last quarter of an hour, or lost a machine in the last half hour. Without prices the listed order holds.",
    )
    .or("order"),
    key("security_groups", ANY_TEXTS, "The security group IDs."),
    key("instance_profile", ANY_TEXT, "The instance profile of the machines."),
    key(
        "disk_gib",
        Form::CountIn(DISK_GIB.0, DISK_GIB.1),
        "The size of the root disk in GiB. The default is that of the image, and it cannot be smaller.",
    ),
    key(
        "disk_iops",
        Form::CountIn(3_000, 80_000),
        "Operations per second of the root disk, a gp3 volume; above 3000 at most 500 per GiB. The default is AWS's own, 3000.",
    ),
    key(
        "disk_throughput",
        Form::CountIn(125, 2_000),
        "Throughput of the root disk in MiB/s, at most a quarter of its `disk_iops`. The default is AWS's own, 125.",
    ),
    key(
        "disk_encryption",
        Form::SwitchOr {
            pattern: "^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+$",
            expected: "true, false, or the ARN of a KMS key such as \"arn:aws:kms:eu-central-1:111122223333:key/0a1b\"",
        },
        "Whether the disks are encrypted: `true` with the account's default key, or with the KMS key of this ARN. With `false` nothing is asked for, and the settings of the image and of the account apply.",
    )
    .or("true"),
    key(
        "public_address",
        Form::Switch,
        "Whether machines get a public IPv4 address, which AWS bills by the hour. Without one they need a NAT gateway or an endpoint to reach the forge. The default is the setting of the subnet.",
    ),
    key(
        "cpu_credits",
        Form::Word(&["unlimited", "standard"]),
        "For T kinds: `unlimited` bills CPU use beyond the credits, `standard` slows the machine down instead, a new one from its start. The default is AWS's own, `unlimited` for all but T2.",
    ),
    key(
        "hop_limit",
        Form::CountIn(1, 2),
        "How many network hops the answer of the instance metadata service may take. With 2 a job in a container reads the user data and the rights of its machine.",
    )
    .or("1"),
    key(
        "tags",
        Form::Tags(MachineOptions::MOST_TAGS),
        "Tags of the machine, its disks, its network interface and its spot request, beside those of tinqs-ci: `{ CostCenter = \"ci\" }`. The role needs the right to set them (`tag_key` in `deploy/aws/iam`).",
    ),
];
