//! The forge's side of the package: webhooks against the corpus, the client against small servers
//! that say what a script lets them say.

mod contents;
mod corpus;
mod evaluate;
mod jobs;
mod lists;
mod repeat;
mod runners;
mod script;
mod setup;
mod weather;
mod wire;
