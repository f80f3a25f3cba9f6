//! The items of a class's seats: a head, and pages that hold the seats.
//!
//! The head counts the seats that were ever taken (`version`) and names the last one and its page.
//! A page holds attempt IDs with their repositories ([`RepoRef::stored`]), up to one write unit, and
//! the version of the last seat that was written into it.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use tinqs_ci_reconciler::model::{ClassName, RepoRef};
use tokio::sync::Mutex;

use super::item::{self, Item, KEY, REPO, UNIT, VERSION};

/// Number of pages that may hold seats.
pub(super) const PAGES: &str = "pages";
/// Attempt ID of the last seat.
pub(super) const ATTEMPT: &str = "attempt";
/// Page of the last seat.
pub(super) const PAGE: &str = "page";
/// Attempt ID → repository: the seats that an earlier release gave.
pub(super) const EARLIER: &str = "earlier";
/// Attributes of an earlier release, which kept all seats in the head.
pub(super) const SEATS: &str = "seats";
pub(super) const REPOS: &str = "repos";
pub(super) const OWNERS: &str = "owners";

/// Bytes of a page's version and of what the table counts for numbers.
const VERSION_BYTES: usize = 16;

pub(super) fn head_key(class: &ClassName) -> String {
    item::key("seats", &class.0)
}

pub(super) fn page_key(class: &ClassName, page: u32) -> String {
    item::key("seats-page", &format!("{page}#{}", class.0))
}

/// Returns the version of the first seat of a head. A head that is made again, after somebody
/// deleted it, must be newer than the pages of the former one: so it starts at the time.
pub(super) fn first_version() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(1)
}

/// A seat, and the page that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) attempt_id: String,
    /// As it is stored.
    pub(super) repo: String,
    pub(super) page: u32,
}

/// The head of a class.
#[derive(Debug, Default)]
pub(super) struct Head {
    exists: bool,
    /// The number of the last seat; `None` without a head, and in the form of an earlier release.
    pub(super) version: Option<u64>,
    pub(super) pages: u32,
    last: Option<Claim>,
    earlier: Item,
}

impl Head {
    pub(super) fn of(item: Option<Item>) -> Self {
        let Some(mut item) = item else { return Self::default() };
        let text = |name: &str| -> Option<String> { item.get(name)?.as_s().ok().cloned() };
        let last = || {
            let page = item::number_of(&item, PAGE)?;
            Some(Claim { attempt_id: text(ATTEMPT)?, repo: text(REPO)?, page })
        };
        let (version, last) = (item::number_of(&item, VERSION), last());
        let pages = item::number_of(&item, PAGES).unwrap_or(0);
        let earlier = item.remove(if version.is_some() { EARLIER } else { SEATS });
        let earlier = match earlier {
            Some(AttributeValue::M(earlier)) => earlier,
            _ => Item::new(),
        };
        Self { exists: true, version, pages, last, earlier }
    }

    /// Returns whether it has the form of an earlier release.
    pub(super) fn is_earlier(&self) -> bool {
        self.exists && self.version.is_none()
    }
}

#[derive(Debug, Default)]
struct SeatPage {
    /// Attempt ID → repository.
    seats: Item,
    /// Bytes of the seats.
    bytes: usize,
    /// The number of the last seat that was written into it.
    version: u64,
}

impl SeatPage {
    fn of(mut item: Item) -> Self {
        let version = item::number_of(&item, VERSION).unwrap_or(0);
        item.remove(KEY);
        item.remove(VERSION);
        Self { bytes: item::size(&item), seats: item, version }
    }
}

/// The seats of a class that a process keeps, and the turn of its calls.
pub(super) type KeptSeats = Arc<Mutex<Option<Seats>>>;

/// The item that has a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the head, since an earlier release gave it.
    Earlier,
    /// In this page.
    Page(u32),
}

/// A head with one seat more.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) version: u64,
    pub(super) pages: u32,
    pub(super) claim: Claim,
}

/// The seats of a class at a version: at least those that are held while the head has that version.
#[derive(Debug)]
pub(super) struct Seats {
    pub(super) head: Head,
    pages: Vec<SeatPage>,
    /// Bytes of seats in a page.
    room: usize,
}

impl Seats {
    /// `pages`: by key, read after the head.
    pub(super) fn new(class: &ClassName, head: Head, mut pages: HashMap<String, Item>) -> Self {
        let page = |page| pages.remove(&page_key(class, page)).map(SeatPage::of);
        let pages = (0..head.pages).map(page).map(Option::unwrap_or_default).collect();
        let fixed = KEY.len() + page_key(class, u32::MAX).len() + VERSION.len() + VERSION_BYTES;
        let mut seats = Self { head, pages, room: UNIT.saturating_sub(fixed) };
        if let Some((_, claim)) = seats.unplaced() {
            let claim = claim.clone();
            seats.add(&claim);
        }
        seats
    }

    /// Returns the last seat and its version, unless it was written into its page. It is held.
    pub(super) fn unplaced(&self) -> Option<(u64, &Claim)> {
        let (version, claim) = (self.head.version?, self.head.last.as_ref()?);
        let page = self.pages.get(usize::try_from(claim.page).ok()?);
        let is_placed = page.is_some_and(|page| page.version >= version);
        (!is_placed).then_some((version, claim))
    }

    /// Returns each attempt ID and its repository.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &AttributeValue)> {
        self.head.earlier.iter().chain(self.pages.iter().flat_map(|page| &page.seats))
    }

    /// Returns the repository of each seat; one that cannot be read counts for the class alone.
    pub(super) fn repos(&self) -> impl Iterator<Item = RepoRef<'_>> {
        self.all().map(|(_, repo)| RepoRef::of_stored(repo.as_s().map_or("", String::as_str)))
    }

    pub(super) fn place_of(&self, attempt_id: &str) -> Option<Place> {
        if self.head.earlier.contains_key(attempt_id) {
            return Some(Place::Earlier);
        }
        let page = self.pages.iter().position(|page| page.seats.contains_key(attempt_id))?;
        u32::try_from(page).ok().map(Place::Page)
    }

    /// Returns the head with a further seat for a repository as it is stored: in the first page that
    /// has room, or in a new one.
    pub(super) fn with(&self, attempt_id: &str, repo: &str) -> Taken {
        let bytes = attempt_id.len() + repo.len();
        let has_room = |page: &SeatPage| page.seats.is_empty() || page.bytes + bytes <= self.room;
        let page = self.pages.iter().position(has_room).unwrap_or(self.pages.len());
        // Empty pages at the end are no longer read.
        let last = self.pages.iter().rposition(|page| !page.seats.is_empty());
        let pages = last.map_or(0, |last| last + 1).max(page + 1);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let claim =
            Claim { attempt_id: attempt_id.to_owned(), repo: repo.to_owned(), page: number(page) };
        let version = self.head.version.map_or_else(first_version, |version| version + 1);
        Taken { version, pages: number(pages), claim }
    }

    /// Notes a seat that was taken and written into its page.
    pub(super) fn took(&mut self, taken: Taken) {
        let Taken { version, pages, claim } = taken;
        self.pages.resize_with(usize::try_from(pages).unwrap_or(0), SeatPage::default);
        self.add(&claim);
        if let Some(page) = self.page(claim.page) {
            page.version = version;
        }
        self.head.exists = true;
        self.head.version = Some(version);
        self.head.pages = pages;
        self.head.last = Some(claim);
    }

    /// Notes a seat that was given back.
    pub(super) fn gave_back(&mut self, attempt_id: &str, place: Place) {
        match place {
            Place::Earlier => {
                self.head.earlier.remove(attempt_id);
            }
            Place::Page(page) => {
                let Some(page) = self.page(page) else { return };
                if let Some((name, repo)) = page.seats.remove_entry(attempt_id) {
                    let bytes = item::size(&Item::from([(name, repo)]));
                    page.bytes = page.bytes.saturating_sub(bytes);
                }
            }
        }
    }

    fn page(&mut self, page: u32) -> Option<&mut SeatPage> {
        self.pages.get_mut(usize::try_from(page).ok()?)
    }

    fn add(&mut self, claim: &Claim) {
        let Claim { attempt_id, repo, page } = claim;
        let Some(page) = self.page(*page) else { return };
        if page.seats.insert(attempt_id.clone(), item::text(&**repo)).is_none() {
            page.bytes += attempt_id.len() + repo.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class() -> ClassName {
        ClassName("linux-large".to_owned())
    }

    fn page_item(page: u32, version: u64, seats: &Item) -> Item {
        let mut item = seats.clone();
        item.insert(KEY.to_owned(), item::text(page_key(&class(), page)));
        item.insert(VERSION.to_owned(), item::number(version));
        item
    }

    fn head_item(version: u64, claim: &Claim) -> Item {
        Item::from([
            (KEY.to_owned(), item::text(head_key(&class()))),
            (VERSION.to_owned(), item::number(version)),
            (PAGES.to_owned(), item::number(claim.page + 1)),
            (ATTEMPT.to_owned(), item::text(&*claim.attempt_id)),
            (REPO.to_owned(), item::text(&*claim.repo)),
            (PAGE.to_owned(), item::number(claim.page)),
        ])
    }

    #[test]
    fn pages_are_filled_up_to_one_write_unit() {
        let mut seats = Seats::new(&class(), Head::of(None), HashMap::new());
        for id in 0..200 {
            let name = format!("tq-job-{id}-0123abcd-1");
            let taken = seats.with(&name, "platform-team/checkout-service#4711");
            seats.took(taken);
        }
        assert_eq!(seats.all().count(), 200);
        let full = seats.pages.len() - 1;
        for (page, held) in (0..).zip(&seats.pages) {
            let bytes = item::size(&page_item(page, held.version, &held.seats));
            assert!(bytes <= UNIT, "page {page}: {bytes} bytes");
            assert!(bytes > 900 || usize::try_from(page) == Ok(full), "page {page}: {bytes} bytes");
        }
        // A freed seat is taken again before a page is added.
        let pages = seats.head.pages;
        let freed = "tq-job-3-0123abcd-1";
        assert_eq!(seats.place_of(freed), Some(Place::Page(0)));
        seats.gave_back(freed, Place::Page(0));
        assert_eq!(seats.place_of(freed), None);
        let taken = seats.with("tq-job-7-0123abcd-2", "platform-team/checkout-service#4711");
        assert_eq!((taken.claim.page, taken.pages), (0, pages));

        // Empty pages at the end are left out of the next head.
        let names: Vec<String> = seats.all().map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(place) = seats.place_of(&name) {
                seats.gave_back(&name, place);
            }
        }
        assert!(seats.pages.iter().all(|page| page.bytes == 0), "every byte is given back");
        assert_eq!(seats.with("tq-job-7-0123abcd-2", "o/r").pages, 1);
    }

    #[test]
    fn the_last_seat_is_held_until_its_page_says_otherwise() {
        let claim = Claim {
            attempt_id: "tq-job-2-0123abcd-1".to_owned(),
            repo: "o/r#7".to_owned(),
            page: 0,
        };
        let read = |pages: HashMap<String, Item>| {
            Seats::new(&class(), Head::of(Some(head_item(8, &claim))), pages)
        };
        let page =
            |version| HashMap::from([(page_key(&class(), 0), page_item(0, version, &Item::new()))]);
        for pages in [HashMap::new(), page(7)] {
            let seats = read(pages);
            assert_eq!(seats.unplaced(), Some((8, &claim)), "its taker has not written it");
            assert_eq!(seats.place_of(&claim.attempt_id), Some(Place::Page(0)));
            assert_eq!(seats.repos().collect::<Vec<_>>(), [RepoRef { id: 7, name: "o/r" }]);
        }
        for version in [8, 9] {
            let seats = read(page(version));
            assert_eq!(seats.unplaced(), None, "it was written, and given back");
            assert_eq!(seats.place_of(&claim.attempt_id), None);
            assert_eq!(seats.with("tq-job-3-0123abcd-1", "o/r").version, 9, "of the head");
        }
    }

    #[test]
    fn the_form_of_an_earlier_release_is_recognized() {
        let attempt_id = "tq-job-2-0123abcd-1";
        let seats = Item::from([(attempt_id.to_owned(), item::text("o/r"))]);
        let earlier = Item::from([(SEATS.to_owned(), AttributeValue::M(seats.clone()))]);
        let read = Seats::new(&class(), Head::of(Some(earlier)), HashMap::new());
        assert!(read.head.is_earlier());
        assert_eq!(read.place_of(attempt_id), Some(Place::Earlier));

        let switched = Item::from([
            (EARLIER.to_owned(), AttributeValue::M(seats)),
            (VERSION.to_owned(), item::number(first_version())),
        ]);
        let mut read = Seats::new(&class(), Head::of(Some(switched)), HashMap::new());
        assert!(!read.head.is_earlier() && read.unplaced().is_none());
        assert_eq!(read.place_of(attempt_id), Some(Place::Earlier));
        read.gave_back(attempt_id, Place::Earlier);
        assert_eq!(read.all().count(), 0);
        assert!(!Head::of(None).is_earlier(), "a class without seats has the new form");
    }
}
