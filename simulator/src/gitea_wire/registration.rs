//! The registration tokens of runners.

use sha2::{Digest, Sha256};

use crate::forge::{Forge, Scope};

/// Returns the registration token of a scope: always the same, without expiry. That of a repository
/// belongs to its ID.
pub(super) fn registration_token(forge: &Forge, scope: &Scope) -> String {
    let name = match scope {
        Scope::Global => String::new(),
        Scope::Owner(name) => name.clone(),
        Scope::Repo(name) => {
            format!("repository {}", forge.repo(name).map_or(0, |repo| repo.id))
        }
    };
    hex::encode(Sha256::digest(format!("registration token/{name}")))[..40].to_owned()
}

/// Returns the scope of a registration token.
pub(super) fn scope_of_token(forge: &Forge, user: &str, token: &str) -> Option<Scope> {
    let owners = forge.repos().map(|r| Scope::Owner(r.parts().0.to_owned()));
    let repos = forge.repos().map(|r| Scope::Repo(r.full_name.clone()));
    [Scope::Global, Scope::Owner(user.to_owned())]
        .into_iter()
        .chain(owners)
        .chain(repos)
        .find(|scope| registration_token(forge, scope) == token)
}
