//! Every key of the configuration: what it takes, what holds without it, what it means.
//! The reader, the JSON Schema and the reference page are made from this one table.

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// What it takes.
    pub form: Form,
    /// What holds where it is not given, written as in the file.
    pub default: Option<&'static str>,
    /// Must be given.
    pub required: bool,
    /// For people, one sentence or two.
    pub about: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// A text of this pattern.
    Text {
        /// A regular expression (ECMA 262), the whole text.
        pattern: &'static str,
        /// In words, after "expected".
        expected: &'static str,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// `5m`, `1h 30m`.
    Duration,
    /// A whole number from 1.
    Count,
    /// `true` or `false`.
    Switch,
    /// `{ env = "NAME" }`, `{ file = "path" }`, or the credential itself.
    Secret,
    /// A list of texts of this pattern.
    Texts {
        /// A regular expression (ECMA 262), each text whole.
        pattern: &'static str,
        /// In words, after "expected".
        expected: &'static str,
    },
    /// A list of these words.
    Words(&'static [&'static str]),
    /// A table.
    Table(&'static [Key]),
    /// A list of tables.
    Tables(&'static [Key]),
}

impl Form {
    /// In words, after "expected".
    pub fn expected(self) -> String {
        match self {
            Self::Text { expected, .. } | Self::Texts { expected, .. } => expected.to_owned(),
            Self::Word(words) => one_of(words),
            Self::Words(words) => format!("a list of {}", one_of(words)),
            Self::Duration => "a duration such as \"90s\", \"5m\" or \"1h 30m\"".to_owned(),
            Self::Count => "a whole number from 1".to_owned(),
            Self::Switch => "true or false".to_owned(),
            Self::Secret => {
                "{ env = \"NAME\" }, { file = \"path\" } or the credential as a text".to_owned()
            }
            Self::Table(_) => "a table".to_owned(),
            Self::Tables(_) => "tables in the file, each headed [[class]]".to_owned(),
        }
    }
}

fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(" or ")
}

const fn key(name: &'static str, form: Form, about: &'static str) -> Key {
    Key { name, form, default: None, required: false, about }
}

impl Key {
    const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// Patterns that the reader checks too, so that the schema and the reader agree.
const URL: Form = Form::Text {
    pattern: "^https?://[^\\s?#@]+$",
    expected: "an address such as \"https://git.example.com\"",
};
const NAMED: Form = Form::Text {
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$",
    expected: "up to 40 letters, digits, `-`, `_` or `.`, beginning with a letter or a digit",
};
const ANY_TEXT: Form = Form::Text { pattern: "^\\P{Cc}*$", expected: "a text" };
const ANY_TEXTS: Form =
    Form::Texts { pattern: "^\\P{Cc}+$", expected: "a list of texts such as [\"a\", \"b\"]" };

/// The file's top.
pub const TOP: &[Key] = &[
    key(
        "installation",
        NAMED,
        "Value of the machine tag `tinqs-ci`. Two installations that share a cloud account need two values.",
    )
    .or("tinqs-ci"),
    key("forge", Form::Table(FORGE), "The Gitea server and how it is asked."),
    key(
        "store",
        Form::Text {
            pattern: "^(redb:.+|memory:|dynamodb:.+)$",
            expected: "\"redb:DIRECTORY\" or \"memory:\"",
        },
        "Where runs are kept: `redb:DIRECTORY` (relative to the working directory), or `memory:`, gone with the process. `dynamodb:TABLE` needs the AWS adapters.",
    )
    .or("redb:./data"),
    key(
        "queue",
        Form::Text { pattern: "^(memory:|sqs:.+)$", expected: "\"memory:\" or \"sqs:URL\"" },
        "Where wake-ups are kept: `memory:`, in the process; what is lost there is found again by time. `sqs:URL` (in builds with the AWS adapters): a standard queue, into which EC2's events may come too.",
    )
    .or("memory:"),
    key(
        "compute",
        Form::Text {
            pattern: "^(process:.*|ec2:.+)$",
            expected: "\"process:\", \"process:DIRECTORY\" or \"ec2:REGION\"",
        },
        "Where machines are: `process:`, child processes of this host in directories of their own under the store's directory (or under the one given). `ec2:REGION` (in builds with the AWS adapters): instances; each class then names `image`, `kinds` and `subnets`.",
    )
    .or("process:"),
    key("server", Form::Table(SERVER), "The HTTP server."),
    key(
        "class",
        Form::Tables(CLASS),
        "Classes of machines, in order: the first whose labels contain every label of a job's `runs-on` serves it. Without any: one class `default` with labels [\"*\"].",
    ),
];

/// `[forge]`.
pub(super) const FORGE: &[Key] = &[
    key("url", URL, "The server's address; required, here or as `GITEA_URL` in the environment."),
    key(
        "machine_url",
        URL,
        "The server's address as machines reach it, where that differs from `url`.",
    ),
    key(
        "token",
        Form::Secret,
        "An access token for the API, with read access to jobs and runners in `scope` and write access to runners. Without it: `GITEA_TOKEN` of the environment.",
    ),
    key(
        "runner_token",
        Form::Secret,
        "The registration token for runners. Without it, it is asked from the server. `RUNNER_TOKEN` of the environment.",
    ),
    key(
        "webhook_secret",
        Form::Secret,
        "What webhooks are signed with. Without it, webhooks are mere hints that bring the next poll forward. `WEBHOOK_SECRET` of the environment.",
    ),
    key(
        "git_token",
        Form::Secret,
        "For cloning over HTTPS on machines. `RUNNER_GIT_TOKEN` of the environment.",
    ),
    key(
        "demand",
        Form::Word(&["auto", "jobs", "push"]),
        "How waiting jobs are known: `jobs`, from the server's own list; `push`, from pushes that are evaluated here (needs `webhook_secret`); `auto`, as the server allows.",
    )
    .or("auto"),
    key(
        "scope",
        Form::Text {
            pattern: "^(all|user|org:[^/:\\s]+|repo:[^/:\\s]+/[^/:\\s]+)$",
            expected: "\"all\", \"user\", \"org:NAME\" or \"repo:OWNER/NAME\"",
        },
        "Which job and runner lists are used: of the whole server (an administrator's token), of the token's user, of an organisation, of a repository.",
    )
    .or("all"),
    key("poll_every", Form::Duration, "How often the job list is read; from 1s to 1h.").or("10s"),
    key(
        "sweep_every",
        Form::Duration,
        "How often machines, registrations and seats are gone through; from 1s to 1h.",
    )
    .or("60s"),
];

/// `[server]`.
pub(super) const SERVER: &[Key] = &[
    key(
        "listen",
        Form::Text {
            pattern: "^.+:[0-9]{1,5}$",
            expected: "an IP address and a port such as \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::1]:8080\"",
        },
        "Where webhooks and the API are served.",
    )
    .or("127.0.0.1:8080"),
    key(
        "api_token",
        Form::Secret,
        "What `/v1` asks for as `Authorization: Bearer …`; required when listening beyond loopback.",
    ),
];

/// `[[class]]`.
pub(super) const CLASS: &[Key] = &[
    key("name", NAMED, "Its name: in tags, metrics and records.").required(),
    key(
        "labels",
        Form::Texts {
            pattern: "^(\\*|[^\\s:,*]+(:(host|docker)(:[^\\s,]+)?)?)$",
            expected: "a list of labels, each `name`, `name:host` or `name:docker://IMAGE`, or [\"*\"]",
        },
        "Labels that its runners carry, `name[:schema[:argument]]`. [\"*\"] serves any set without `host`.",
    )
    .required(),
    key("serves_unlabelled", Form::Switch, "Also jobs that ask for no label at all.").or("false"),
    key("limit", Form::Count, "Most machines at once. Without it: no limit."),
    key("repo_limit", Form::Count, "Most machines at once for one repository. Without it: no limit."),
    key("boot_within", Form::Duration, "From a launch until the runner is online.").or("5m"),
    key(
        "idle_within",
        Form::Duration,
        "From the runner's start until it has a job; then it ends itself.",
    )
    .or("2m"),
    key("max_age", Form::Duration, "Of a machine, whatever it does.").or("6h"),
    key("give_up_after", Form::Duration, "A job waiting this long gets no more machines.").or("24h"),
    key(
        "assign_within",
        Form::Duration,
        "After another job took its machine, how long a job waits for that job's machine.",
    )
    .or("60s"),
    key("keep", Form::Duration, "How long a finished run is kept.").or("168h"),
    key(
        "machines",
        Form::Table(MACHINES),
        "What is launched: every combination, in this order: market, kind, subnet.",
    ),
];

/// `[class.machines]`.
pub(super) const MACHINES: &[Key] = &[
    key("markets", Form::Words(&["spot", "on-demand"]), "How machines are paid.")
        .or("[\"on-demand\"]"),
    key("kinds", ANY_TEXTS, "Instance types; for child processes a mere name.").or("[\"process\"]"),
    key("subnets", ANY_TEXTS, "Subnet ids."),
    key("image", ANY_TEXT, "Image id."),
    key("security_groups", ANY_TEXTS, "Security group ids."),
    key("instance_profile", ANY_TEXT, "Instance profile of the machines."),
];

/// What a credential's table holds.
pub(super) const SECRET: &[Key] = &[
    key("env", ANY_TEXT, "The environment variable that holds the credential."),
    key("file", ANY_TEXT, "The file that holds the credential; a newline at its end is dropped."),
];
