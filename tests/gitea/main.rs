//! The Gitea adapter: webhooks against the corpus, and the client against small scripted servers.

mod at_work;
mod contents;
mod corpus;
mod evaluate;
mod faults;
mod jobs;
mod levels;
mod lists;
mod moved;
mod repeat;
mod reruns;
mod runners;
mod script;
mod setup;
mod times;
mod wire;
