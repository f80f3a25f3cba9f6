//! The limits of seats that may be taken at once, and the one that refuses a seat.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::repos::{RepoRef, same_owner};

/// The maximum number of seats in a class, and in it for one repository and for one owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SeatLimits {
    /// The maximum in the class; `None`: no limit.
    pub class: Option<u32>,
    /// The maximum for the repository; `None`: no limit.
    pub repo: Option<u32>,
    /// The maximum for all repositories of its owner; `None`: no limit.
    #[serde(default)]
    pub owner: Option<u32>,
}

/// A limit that refuses another seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// The scope of the limit.
    pub of: LimitOf,
    /// The seats that count for it.
    pub held: u32,
    /// The limit.
    pub limit: u32,
}

/// The scope of a limit of seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitOf {
    /// One repository in a class.
    Repo,
    /// All repositories of one owner in a class.
    Owner,
    /// The class.
    Class,
}

impl SeatLimits {
    /// Returns the limit that refuses another seat for a repository: its own, its owner's, or the
    /// class's. `held`: the repositories that the seats of the class count for. A seat of the same
    /// repository counts for its owner, whatever the owner was called when it was taken.
    pub fn reached<'a>(
        &self,
        repo: RepoRef<'_>,
        held: impl IntoIterator<Item = RepoRef<'a>>,
    ) -> Option<LimitReached> {
        let (mut of_repo, mut of_owner, mut of_class) = (0_u32, 0_u32, 0_u32);
        for holder in held {
            let is_same = holder.is_same(repo);
            of_class += 1;
            of_owner += u32::from(is_same || same_owner(holder.name, repo.name));
            of_repo += u32::from(is_same);
        }
        let all = [
            (LimitOf::Repo, of_repo, self.repo),
            (LimitOf::Owner, of_owner, self.owner),
            (LimitOf::Class, of_class, self.class),
        ];
        all.into_iter().find_map(|(of, held, limit)| {
            let limit = limit.filter(|limit| held >= *limit)?;
            Some(LimitReached { of, held, limit })
        })
    }
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.of {
            LimitOf::Repo => "its repository",
            LimitOf::Owner => "its owner",
            LimitOf::Class => "its class",
        };
        write!(f, "{whose} holds {} of {}", self.held, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: RepoRef<'static> = RepoRef { id: 7, name: "acme/site" };

    fn told(limits: (u32, u32, u32), held: &[RepoRef<'_>]) -> Option<String> {
        let (class, repo, owner) = limits;
        let limits = SeatLimits { class: Some(class), repo: Some(repo), owner: Some(owner) };
        limits.reached(SITE, held.iter().copied()).map(|reached| reached.to_string())
    }

    #[test]
    fn the_narrowest_limit_is_told() {
        let held = ["acme/site", "Acme/Site", "Acme/shop", "other/site"].map(RepoRef::named);
        assert_eq!(told((4, 2, 3), &held).as_deref(), Some("its repository holds 2 of 2"));
        assert_eq!(told((4, 3, 3), &held).as_deref(), Some("its owner holds 3 of 3"));
        assert_eq!(told((4, 3, 4), &held).as_deref(), Some("its class holds 4 of 4"));
        assert_eq!(told((5, 3, 4), &held), None);
        assert_eq!(told((2, 9, 9), &held).as_deref(), Some("its class holds 4 of 2"), "lowered");
        let none = SeatLimits::default();
        assert_eq!(none.reached(SITE, held), None);
    }

    #[test]
    fn a_renamed_repository_keeps_its_seats_and_a_replaced_one_has_none() {
        let of = |id, name| RepoRef { id, name };
        let renamed = [of(7, "acme/old"), of(7, "former/site")];
        assert_eq!(told((9, 2, 9), &renamed).as_deref(), Some("its repository holds 2 of 2"));
        assert_eq!(told((9, 9, 2), &renamed).as_deref(), Some("its owner holds 2 of 2"));
        let replaced = [of(8, "acme/site"), of(8, "acme/site")];
        assert_eq!(told((9, 1, 9), &replaced), None);
        assert_eq!(told((9, 9, 2), &replaced).as_deref(), Some("its owner holds 2 of 2"));
        let of_others = [of(8, "former/shop"), of(9, "former/lab")];
        assert_eq!(told((9, 1, 1), &of_others), None, "other repositories of a former owner");
    }
}
