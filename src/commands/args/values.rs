//! The fixed values of arguments.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum Output {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum TextOrJson {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum Phase {
    Waiting,
    Starting,
    Running,
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum SchemaKind {
    Config,
    Run,
    Observation,
    Table,
    Metrics,
}

/// The key by which a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum Sort {
    Age,
    Repo,
    Class,
    Phase,
}

/// Gitea versions whose rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum ServerLine {
    #[value(name = "1.25")]
    V1_25,
    #[value(name = "1.26")]
    V1_26,
    #[value(name = "1.27")]
    V1_27,
}
