//! The keys of a class's runner.

use super::{ANY_TEXT, Form, Key, URL, USER, key};

/// `[class.runner]`.
pub(in crate::settings) const RUNNER: &[Key] = &[
    key(
        "user",
        USER,
        "The user of the image as whom the jobs of a machine in EC2 run; the machine powers off if there is none. The default is root. See `docs/security.md` for what it fences.",
    ),
    key(
        "docker",
        Form::Switch,
        "Whether that user becomes a member of the group `docker`, for labels with `docker://`: a job can then become root on its machine, and nothing is fenced. The default is `false`.",
    ),
    key(
        "download",
        Form::Table(DOWNLOAD),
        "The runner that a machine fetches if its image has neither `gitea-runner` nor `act_runner` 0.3.1 or later. If its hash is another, the machine powers off.",
    ),
    key(
        "config",
        Form::Table(CONFIG),
        "Keys of the runner's `config.yaml`. Others are refused: the boot script sets them, or they would undo what a machine promises.",
    ),
];

/// `[class.runner.download]`.
pub(in crate::settings) const DOWNLOAD: &[Key] = &[
    key(
        "url",
        Form::Text {
            pattern: "^https?://[^\\s?#@'\\\\\"]+$",
            expected: "an address such as \"https://example.com/gitea-runner-linux-amd64\"",
        },
        "The address of the program itself, for the machines' architecture; archives are not unpacked.",
    )
    .required(),
    key(
        "sha256",
        Form::Text {
            pattern: "^[0-9a-f]{64}$",
            expected: "a SHA-256 in 64 lower-case hex digits, as `sha256sum` prints it",
        },
        "The SHA-256 of the program.",
    )
    .required(),
];

/// `[class.runner.config]`.
pub(in crate::settings) const CONFIG: &[Key] = &[
    key(
        "ca",
        ANY_TEXT,
        "The file with the certificates, in PEM, of a private authority, which machines in EC2 trust, their jobs on `host` included. It is read with the configuration.",
    ),
    key("container", Form::Table(CONTAINER), "The section `container`."),
    key("runner", Form::Table(OPTIONS), "The section `runner`."),
    key(
        "cache",
        Form::Table(CACHE),
        "The section `cache`. The default of each key is the runner's own.",
    ),
];

/// `[class.runner.config.container]`.
pub(in crate::settings) const CONTAINER: &[Key] = &[
    key(
        "network",
        Form::Text {
            pattern: "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
            expected: "the name of a network of Docker such as \"host\"",
        },
        "The network of containers. The default is a network of its own for each job.",
    ),
    key("force_pull", Form::Switch, "Whether images are pulled although they are there."),
    key(
        "docker_timeout",
        Form::Duration,
        "How long the runner waits for Docker, from `1s` to `10m`. The default is `60s`.",
    ),
];

/// `[class.runner.config.runner]`.
pub(in crate::settings) const OPTIONS: &[Key] = &[
    key(
        "envs",
        Form::Variables,
        "Variables of every job of the class, which every job can read and print.",
    ),
    key("insecure", Form::Switch, "Whether the certificate of the forge is not verified."),
];

/// `[class.runner.config.cache]`.
pub(in crate::settings) const CACHE: &[Key] = &[
    key("enabled", Form::Switch, "Whether there is a cache for actions."),
    key("dir", ANY_TEXT, "The directory of the runner's own cache server."),
    key("host", ANY_TEXT, "The host under which containers reach that server."),
    key("port", Form::Count, "Its port."),
    key(
        "external_server",
        URL,
        "The address of a cache server elsewhere, which repositories then share: only for a class whose `repos` all have one owner, without `*` in it.",
    ),
    key(
        "external_secret",
        Form::Secret,
        "The credential for that server, which every job of the class can read.",
    ),
];
