//! People who rename and transfer repositories.

use jiff::SignedDuration;

use super::draw::{minutes, one_of, pick};
use super::profile::UserAction;
use super::user_actions::{REPOS, mixed, push};
use crate::faults::Rng;

/// Renames and transfers while jobs of the repositories wait and run, each followed by a rerun.
/// Later pushes to the former names make other repositories there, which are renamed as well.
pub(super) fn renames(rng: &mut Rng) -> Vec<(SignedDuration, UserAction)> {
    let mut user_actions = Vec::new();
    for number in 0..12 {
        let from = one_of(rng, &REPOS).to_owned();
        let to = format!("{}/moved-{number}", one_of(rng, &["acme", "umbrella"]));
        let at = rng.between(minutes(5), minutes(350));
        user_actions.push((at, UserAction::RenameRepo { from, to }));
        let wait = rng.between(minutes(2), minutes(6));
        user_actions.push((at + wait, UserAction::Rerun(pick(rng, 6))));
    }
    user_actions
}

/// Actions of people; and each repository gets another name, or another owner, while it has as many
/// machines as its class gives it, and more of its jobs wait. Later pushes to the former name make
/// another repository there.
pub(super) fn at_the_limit(rng: &mut Rng) -> Vec<(SignedDuration, UserAction)> {
    let mut user_actions = mixed(rng);
    for (number, repo) in (0..).zip(REPOS) {
        let at = rng.between(minutes(5), minutes(300));
        user_actions.push((at, push(rng, repo, 8)));
        let (from, owner) = (repo.to_owned(), one_of(rng, &["acme", "umbrella"]));
        let to = format!("{owner}/renamed-{number}");
        let wait = rng.between(minutes(2), minutes(5));
        user_actions.push((at + wait, UserAction::RenameRepo { from, to }));
    }
    user_actions.sort_by_key(|(at, _)| *at);
    user_actions
}
