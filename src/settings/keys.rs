//! All configuration keys with their form, default and description. The reader, the JSON Schema
//! and the reference page are generated from this table.

mod class;
mod runner;

pub(super) use class::{CLASS, DISK_GIB, MACHINES};
pub(super) use runner::{CACHE, CONFIG, CONTAINER, DOWNLOAD, OPTIONS, RUNNER};

/// A configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name, as written in the file.
    pub name: &'static str,
    /// The form of its value.
    pub form: Form,
    /// The default value, written as in the file.
    pub default: Option<&'static str>,
    /// Whether the key must be set.
    pub required: bool,
    /// A description of one or two sentences.
    pub about: &'static str,
}

/// The form of a key's value.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// A string that matches this pattern.
    Text {
        /// A regular expression (ECMA 262) for the whole string.
        pattern: &'static str,
        /// A description that follows "expected".
        expected: &'static str,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// `5m`, `1h 30m`.
    Duration,
    /// A whole number from 1.
    Count,
    /// A whole number in this range.
    CountIn(u32, u32),
    /// A number in this range, also with a decimal point.
    DecimalIn(f64, f64),
    /// A whole number from 1, or this word for no limit.
    CountOr(&'static str),
    /// `true` or `false`.
    Switch,
    /// `true`, `false`, or a string that matches this pattern.
    SwitchOr {
        /// A regular expression (ECMA 262) for the whole string.
        pattern: &'static str,
        /// A description that follows "expected".
        expected: &'static str,
    },
    /// `{ env = "NAME" }`, `{ file = "path" }`, `{ ssm = "/name" }`, `{ secretsmanager = "name" }`,
    /// or the credential itself.
    Secret,
    /// A list of strings that match this pattern.
    Texts {
        /// A regular expression (ECMA 262) for each whole string.
        pattern: &'static str,
        /// A description that follows "expected".
        expected: &'static str,
    },
    /// A list of these words.
    Words(&'static [&'static str]),
    /// A table.
    Table(&'static [Key]),
    /// A list of tables; their heading in the file, such as `[[class]]`.
    Tables(&'static str, &'static [Key]),
    /// One credential, or a list of them.
    Secrets,
    /// A table of tags of machines, at most this many.
    Tags(usize),
    /// A table of prices per hour by the kind of a machine.
    Prices,
    /// A table of environment variables.
    Variables,
}

impl Form {
    /// Returns a description that follows "expected".
    pub fn expected(self) -> String {
        match self {
            Self::Text { expected, .. }
            | Self::Texts { expected, .. }
            | Self::SwitchOr { expected, .. } => expected.to_owned(),
            Self::Word(words) => one_of(words),
            Self::Words(words) => format!("a list of {}", one_of(words)),
            Self::Duration => "a duration such as \"90s\", \"5m\" or \"1h 30m\"".to_owned(),
            Self::Count => "a whole number from 1".to_owned(),
            Self::CountIn(least, most) => format!("a whole number from {least} to {most}"),
            Self::DecimalIn(least, most) => format!("a number from {least} to {most}"),
            Self::CountOr(word) => format!("a whole number from 1, or \"{word}\""),
            Self::Switch => "true or false".to_owned(),
            Self::Secret => "{ env = \"NAME\" }, { file = \"path\" }, { ssm = \"/name\" }, \
                 { secretsmanager = \"name\" } or the credential as a string"
                .to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Tags(_) => "a table of tags such as { CostCenter = \"ci\" }".to_owned(),
            Self::Prices => "a table of prices such as \"c7a.medium\" = \"$0.0513/h\"".to_owned(),
            Self::Variables => "a table of variables such as PROXY = \"10.0.0.1\"".to_owned(),
            Self::Secrets => format!("{}, or a list of these", Self::Secret.expected()),
            Self::Tables(heading, _) => format!("tables in the file, each under {heading}"),
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

// The reader enforces these patterns too, so that it agrees with the schema.
const URL: Form = Form::Text {
    pattern: "^https?://[^\\s?#@]+$",
    expected: "an address such as \"https://git.example.com\"",
};
const NAMED: Form = Form::Text {
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$",
    expected: "up to 40 letters, digits, `-`, `_` or `.`, starting with a letter or a digit",
};
const ADDRESS: Form = Form::Text {
    pattern: "^.+:[0-9]{1,5}$",
    expected: "an IP address and a port such as \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::1]:8080\"",
};
const USER: Form = Form::Text {
    pattern: "^[a-z_][a-z0-9_-]{0,31}$",
    expected: "the name of a user such as \"ci-job\"",
};
const ANY_TEXT: Form = Form::Text { pattern: "^\\P{Cc}*$", expected: "a string" };
const ANY_TEXTS: Form =
    Form::Texts { pattern: "^\\P{Cc}+$", expected: "a list of strings such as [\"a\", \"b\"]" };

/// The top level of the file.
pub const TOP: &[Key] = &[
    key(
        "installation",
        NAMED,
        "The value of the machine tag `tinqs-ci`; a hash of it is in the name of each runner. Installations that share a cloud account or a forge need different values.",
    )
    .or("tinqs-ci"),
    key("forge", Form::Table(FORGE), "The Gitea server and how to access it."),
    key(
        "store",
        Form::Text {
            pattern: "^(redb:.+|memory:|dynamodb:.+)$",
            expected: "\"redb:DIRECTORY\" or \"memory:\"",
        },
        "The store for runs: `redb:DIRECTORY` (relative to the working directory), or `memory:` (lost when the process ends). `dynamodb:TABLE` needs a build with the AWS adapters.",
    )
    .or("redb:./data"),
    key(
        "queue",
        Form::Text { pattern: "^(memory:|sqs:.+)$", expected: "\"memory:\" or \"sqs:URL\"" },
        "The queue for wake-ups: `memory:` (in the process; lost wake-ups are repeated when the run is due), or `sqs:URL` (needs a build with the AWS adapters): a standard queue, which may also receive EC2 events.",
    )
    .or("memory:"),
    key(
        "compute",
        Form::Text {
            pattern: "^(process:.*|ec2:.+)$",
            expected: "\"process:\", \"process:DIRECTORY\" or \"ec2:REGION\"",
        },
        "Where machines run: `process:` starts child processes on this host, each in its own directory below the store's directory (or below the given one). `ec2:REGION` (needs a build with the AWS adapters) launches EC2 instances; each class must then set `image`, `kinds` and `subnets`.",
    )
    .or("process:"),
    key("process", Form::Table(PROCESS), "As whom `process:` machines run."),
    key("aws", Form::Table(AWS), "How fast machines are launched in EC2."),
    key("server", Form::Table(SERVER), "The addresses that the server listens on, and who may use them."),
    key(
        "prices",
        Form::Prices,
        "The price per hour of each kind of machine on demand, for costs and budgets: under `[prices]` a line such as `\"c7a.medium\" = \"$0.0513/h\"`, for child processes `process = \"$0.02/h\"`. Spot prices are read from EC2. The cost of a kind without a price is unknown.",
    ),
    key(
        "class",
        Form::Tables("[[class]]", CLASS),
        "Machine classes, in order: the first class whose labels contain every label of a job's `runs-on` serves the job. The default is one class `default` with labels [\"*\"].",
    ),
];

/// `[forge]`.
pub(super) const FORGE: &[Key] = &[
    key("url", URL, "The server's address. Required, here or in the variable `GITEA_URL`."),
    key(
        "machine_url",
        URL,
        "The server's address for machines, if it differs from `url`.",
    ),
    key(
        "token",
        Form::Secret,
        "An access token for the API, with read access to jobs and runners in `scope`, and the right to register runners in its repositories (`write:repository`). Defaults to the variable `GITEA_TOKEN`.",
    ),
    key(
        "runner_token",
        Form::Secret,
        "The registration token for runners, only used with `register_in = \"scope\"`. Defaults to the variable `RUNNER_TOKEN`; if neither is set, the server is asked for one.",
    ),
    key(
        "webhook_secret",
        Form::Secrets,
        "The secret that signs webhooks. Defaults to the variable `WEBHOOK_SECRET`. Without it, a webhook only triggers the next poll early. Of a list each is accepted, so that one can be replaced without a refused webhook; commands use the first.",
    ),
    key(
        "git_token",
        Form::Secret,
        "A token for cloning over HTTPS on machines. Defaults to the variable `RUNNER_GIT_TOKEN`.",
    ),
    key(
        "demand",
        Form::Word(&["auto", "jobs", "push"]),
        "The source of waiting jobs: `jobs` reads the server's job list; `push` evaluates pushes here (needs `webhook_secret`); `auto` picks what the server supports.",
    )
    .or("auto"),
    key(
        "scope",
        Form::Text {
            pattern: "^(all|user|org:[^/:\\s]+|repo:[^/:\\s]+/[^/:\\s]+)$",
            expected: "\"all\", \"user\", \"org:NAME\" or \"repo:OWNER/NAME\"",
        },
        "Which job and runner lists are read: those of the whole server (needs an administrator's token), of the token's user, of an organization, or of a repository.",
    )
    .or("all"),
    key(
        "register_in",
        Form::Word(&["repository", "scope"]),
        "Where runners are registered: `repository` gives each machine only to jobs of the repository that it was started for; with `scope`, any repository in `scope` can take every machine.",
    )
    .or("repository"),
    key("poll_every", Form::Duration, "How often the job list is read; from 1s to 1h.").or("10s"),
    key(
        "sweep_every",
        Form::Duration,
        "How often the sweep checks machines, registrations and seats; from 1s to 1h.",
    )
    .or("60s"),
];

/// `[process]`.
pub(super) const PROCESS: &[Key] = &[
    key(
        "user",
        USER,
        "The user as whom every machine runs, so that a job reaches neither the server's files nor the server. The server then needs CAP_SETUID, CAP_SETGID and CAP_KILL, which the shipped systemd unit grants. Without it machines run as the server's own user, and each start warns; `self` says that this is intended.",
    ),
    key(
        "directory",
        ANY_TEXT,
        "The directory in which the machines of that user work, which belongs to it. The default is `machines` in its home directory.",
    ),
];

/// `[aws]`.
pub(super) const AWS: &[Key] = &[
    key(
        "launch_rate",
        Form::DecimalIn(0.1, 100.0),
        "Launches per second after a burst. EC2 allows an account 2; raise it with that quota of yours (`RunInstances` requests). Each process has its own.",
    )
    .or("1.9"),
    key(
        "launch_burst",
        Form::CountIn(1, 1_000),
        "Launches at once. EC2 allows an account 5.",
    )
    .or("4"),
];

/// `[server]`.
pub(super) const SERVER: &[Key] = &[
    key(
        "webhooks",
        ADDRESS,
        "The address that takes the forge's webhooks, and nothing else; it also answers probes.",
    )
    .or("127.0.0.1:8080"),
    key(
        "api",
        ADDRESS,
        "The address of the API and the metrics, which need a token. Commands on this host find it here. One that other hosts reach needs `server.tls`, or `serve --insecure-api`.",
    )
    .or("127.0.0.1:8081"),
    key(
        "metrics",
        ADDRESS,
        "An address that serves `/metrics` alone, without a token. The default is none.",
    ),
    key(
        "tls",
        Form::Table(TLS),
        "The certificate of these addresses, which then speak TLS only. `serve` reads its files again when they change.",
    ),
    key(
        "hosts",
        Form::Texts {
            pattern: "^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$",
            expected: "a list of host names such as [\"ci.example.com\"]",
        },
        "The names under which the API may be called, beside loopback and its IP address. Requests with another `Host` are refused.",
    ),
    key(
        "token",
        Form::Tables("[[server.token]]", TOKEN),
        "Tokens of the API. Without one, `serve` creates a token that may operate, and keeps it in a file. The variable `TINQS_CI_SERVER__TOKEN` sets one that may operate, named `environment`.",
    ),
    key(
        "event_clients",
        Form::Count,
        "The maximum number of clients that follow `/v1/events` at once; more are refused with 503.",
    )
    .or("256"),
    key(
        "log",
        Form::Text {
            pattern: "^\\P{Cc}*\\S\\P{Cc}*$",
            expected: "a level such as \"info\" or \"debug\", or a list such as \"info,tinqs_ci=debug\"",
        },
        "Which log lines are written: `error`, `warn`, `info`, `debug` or `trace`, also for single modules. The variable `TINQS_CI_LOG` overrides it. The default is `info`.",
    ),
    key(
        "emf",
        Form::Switch,
        "Whether the Lambda function writes eight metrics to its log, from which CloudWatch makes metrics of its own, which AWS charges for; `serve` ignores it.",
    )
    .or("false"),
];

/// `[server.tls]`.
pub(super) const TLS: &[Key] = &[
    key(
        "cert",
        ANY_TEXT,
        "The file of the certificate in PEM, the server's own first, then those of its authorities, such as `fullchain.pem` of an ACME client.",
    )
    .required(),
    key(
        "key",
        ANY_TEXT,
        "The file of its private key in PEM, without a passphrase. Only the server's user should be able to read it.",
    )
    .required(),
];

/// `[[server.token]]`.
pub(super) const TOKEN: &[Key] = &[
    key("name", NAMED, "The name of its owner in the audit log.").required(),
    key("secret", Form::Secret, "The token, sent as `Authorization: Bearer …`.").required(),
    key(
        "may",
        Form::Word(&["read", "operate"]),
        "`read` shows runs, machines and metrics; `operate` also shows what machines printed, changes them and reloads the configuration.",
    )
    .required(),
];

/// The table of a credential.
pub(super) const SECRET: &[Key] = &[
    key("env", ANY_TEXT, "The environment variable that holds the credential."),
    key(
        "file",
        ANY_TEXT,
        "The file that holds the credential; trailing newlines are removed. `serve` reads it again when it changes.",
    ),
    key(
        "ssm",
        ANY_TEXT,
        "The parameter of AWS Systems Manager that holds the credential: its path or ARN. It is decrypted. `serve` reads it again every 10 minutes, and when the forge rejects its token.",
    ),
    key(
        "secretsmanager",
        ANY_TEXT,
        "The secret of AWS Secrets Manager that holds the credential as plain text: its name or ARN. `serve` reads it again like `ssm`.",
    ),
];
