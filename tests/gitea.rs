//! The Gitea adapter: webhooks against the corpus, and the client against small scripted servers.

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
