//! The question which repositories the machines are for.

use tinqs_ci_gitea::Scope;
use tinqs_ci_gitea::client::Client;
use tinqs_ci_reconciler::model::pattern_problem;
use tinqs_ci_reconciler::text::cut;

use super::Flags;
use super::ask::Prompter;
use crate::commands::doctor::fits_none;
use crate::commands::failure::{Failure, warn};

/// The answer for every repository in scope.
const ALL: &str = "all";

/// Asks for the patterns of the class; none for every repository in scope. Warns about those that
/// no repository fits.
pub(super) async fn repos(
    flags: &Flags,
    scope: &Scope,
    client: &Client,
    prompter: &mut Prompter,
) -> Result<Vec<String>, Failure> {
    let given = flags.repos.as_ref().map(|repos| repos.join(","));
    if given.is_none() && matches!(scope, Scope::Repo(..)) {
        return Ok(Vec::new());
    }
    let question = "Repositories to serve (all, or patterns such as acme/site,acme/infra-*)";
    let repos = prompter.until(given, question, Some(ALL), patterns)?;
    if repos.is_empty() {
        return Ok(repos);
    }
    // It is only for the warning, and `doctor` reads it again.
    if let Ok(Some(existing)) = client.repositories().await {
        for unfit in repos.iter().filter_map(|pattern| fits_none(pattern, &existing)) {
            warn(&format!("--repos has {unfit}"));
        }
    }
    Ok(repos)
}

fn patterns(text: &str) -> Result<Vec<String>, Failure> {
    let repos: Vec<String> = text.split(',').map(|pattern| pattern.trim().to_owned()).collect();
    if repos == [ALL] {
        return Ok(Vec::new());
    }
    for (index, pattern) in repos.iter().enumerate() {
        let is_twice = repos.iter().take(index).any(|other| other.eq_ignore_ascii_case(pattern));
        let problem = pattern_problem(pattern).or(is_twice.then_some("is listed twice"));
        if let Some(problem) = problem {
            return Err(Failure::usage(format!("--repos: \"{}\" {problem}", cut(pattern, 60)))
                .hint("for example --repos acme/site,acme/infra-*, or --repos all"));
        }
    }
    Ok(repos)
}

/// Returns patterns as they are entered.
pub(super) fn text(repos: &[String]) -> String {
    if repos.is_empty() { ALL.to_owned() } else { repos.join(",") }
}
