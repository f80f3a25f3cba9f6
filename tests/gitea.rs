//! The forge's side of the package: webhooks against the corpus, the client against small servers
//! that say what a script lets them say.

#[path = "gitea/script.rs"]
mod script;

#[path = "gitea/contents.rs"]
mod contents;

#[path = "gitea/corpus.rs"]
mod corpus;

#[path = "gitea/evaluate.rs"]
mod evaluate;

#[path = "gitea/lists.rs"]
mod lists;

#[path = "gitea/jobs.rs"]
mod jobs;

#[path = "gitea/repeat.rs"]
mod repeat;

#[path = "gitea/runners.rs"]
mod runners;

#[path = "gitea/setup.rs"]
mod setup;

#[path = "gitea/weather.rs"]
mod weather;

#[path = "gitea/wire.rs"]
mod wire;
