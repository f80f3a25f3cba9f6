//! The scopes that `init` offers: those that the token may use.

use tinqs_ci_gitea::client::{Access, Client};
use tinqs_ci_gitea::{Demand, Scope};
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::cut;

use super::client::{Problem, client_of, untested};
use crate::commands::failure::Failure;
use crate::settings::scope;

/// The forms of a scope, widest first.
const FORMS: [&str; 4] = ["all", "user", "org:NAME", "repo:OWNER/NAME"];

/// The question for the scope.
pub(super) struct Offer {
    pub(super) question: String,
    /// The answer that is proposed.
    pub(super) usual: Option<&'static str>,
}

impl Offer {
    /// Offers some forms. `usual` is proposed if it is one of them, else a wide one.
    fn of(forms: &[&'static str], usual: &'static str) -> Self {
        let question = format!("Scope of jobs ({})", forms.join(", "));
        let named = |form: &&'static str| matches!(*form, "all" | "user");
        let is_offered = forms.contains(&usual);
        let usual = if is_offered { Some(usual) } else { forms.iter().copied().find(named) };
        Self { question, usual }
    }

    /// Offers every form: nobody is asked, or a flag answers.
    pub(super) fn all(usual: &'static str) -> Self {
        Self::of(&FORMS, usual)
    }

    /// Offers the forms whose jobs the token may list. Whether it may list those of one
    /// organization or repository is known when that is named. Mode `push` lists no jobs.
    pub(super) async fn granted(
        url: &str,
        token: &Secret,
        usual: &'static str,
        wanted: Demand,
    ) -> Result<Self, Problem> {
        if wanted == Demand::Push {
            return Ok(Self::all(usual));
        }
        let mut forms = Vec::new();
        for form in FORMS {
            let is_granted = match form {
                "all" => may_list(&client_of(url, token, &Scope::All)?).await?,
                "user" => may_list(&client_of(url, token, &Scope::User)?).await?,
                "org:NAME" => {
                    let client = client_of(url, token, &Scope::User)?;
                    let access = client.organization_access().await;
                    is_allowed(&access.map_err(|error| untested(&error))?)
                }
                _ => true,
            };
            if is_granted {
                forms.push(form);
            }
        }
        Ok(Self::of(&forms, usual))
    }
}

async fn may_list(client: &Client) -> Result<bool, Problem> {
    let rights = client.rights().await.map_err(|error| untested(&error))?;
    Ok(is_allowed(&rights.jobs))
}

/// Whether the token is not what prevents the access.
fn is_allowed(access: &Access) -> bool {
    !matches!(access, Access::Denied(_) | Access::Rejected(_))
}

/// Reads a scope that was given or entered.
pub(super) fn scope_of(text: &str) -> Result<Scope, Failure> {
    scope(text).map_err(|_| {
        Failure::usage(format!("--scope: \"{}\" is not valid", cut(text, 60)))
            .hint("expected all, user, org:NAME or repo:OWNER/NAME")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_scope_is_proposed_only_if_it_is_offered() {
        let offer = Offer::of(&["user", "repo:OWNER/NAME"], "all");
        assert_eq!(offer.question, "Scope of jobs (user, repo:OWNER/NAME)");
        assert_eq!(offer.usual, Some("user"));
        assert_eq!(Offer::of(&["org:NAME", "repo:OWNER/NAME"], "all").usual, None);
        assert_eq!(Offer::all("user").usual, Some("user"));
    }
}
