//! Tickets, which a browser gets instead of a token: the code of a one-time address, then the
//! cookie of a session. Both are signed with the secret of a token, so that every replica accepts
//! them and nothing is stored; they end with that token.

use std::collections::HashMap;

use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use sha2::Sha256;

use crate::settings::Token;

/// The lifetime of a session.
pub(super) const SESSION: SignedDuration = SignedDuration::from_hours(12);
/// The lifetime of a one-time address.
pub(super) const CODE: SignedDuration = SignedDuration::from_mins(2);
/// The maximum length of a sealed ticket, in bytes.
const LONGEST: usize = 200;
/// The maximum number of used codes that are kept, which end within [`CODE`].
const KEPT: usize = 4096;

/// The purpose of a ticket. A ticket for one purpose is not valid for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A one-time address.
    Code,
    /// A session.
    Session,
}

/// Admits its bearer like the token whose secret signs it, until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The name of the token.
    pub(super) token: String,
    /// The user whom the socket admitted, if that asked for it.
    pub(super) uid: Option<u32>,
    /// The end, in milliseconds.
    pub(super) expires: Timestamp,
}

impl Ticket {
    /// Returns the name of its bearer in the audit log.
    pub(super) fn who(&self) -> String {
        self.uid.map_or_else(|| self.token.clone(), uid_name)
    }

    /// Returns it with its signature, of letters that fit a cookie and an address.
    pub(super) fn sealed(&self, purpose: Purpose, token: &Token) -> String {
        let content = self.content();
        let mac = mac(purpose, &content, token).finalize().into_bytes();
        format!("{content}:{}", hex::encode(mac))
    }

    fn content(&self) -> String {
        let uid = self.uid.map(|uid| uid.to_string()).unwrap_or_default();
        format!("{}:{uid}:{}", self.token, self.expires.as_millisecond())
    }

    /// Returns the ticket and the token that signs it, if this text is one for this purpose that one
    /// of the tokens signs and that has not expired.
    pub(super) fn open<'t>(
        sealed: &str,
        purpose: Purpose,
        tokens: impl Iterator<Item = &'t Token>,
        now: Timestamp,
    ) -> Option<(Self, &'t Token)> {
        if sealed.len() > LONGEST {
            return None;
        }
        let (content, given) = sealed.rsplit_once(':')?;
        let mut parts = content.rsplitn(3, ':');
        let (expires, uid, name) = (parts.next()?, parts.next()?, parts.next()?);
        let uid = if uid.is_empty() { None } else { Some(uid.parse().ok()?) };
        let expires = Timestamp::from_millisecond(expires.parse().ok()?).ok()?;
        let mut tokens = tokens.filter(|token| !token.secret.expose().is_empty());
        let token = tokens.find(|token| token.name == name)?;
        // The content as it was given: there is no second way to write a ticket.
        mac(purpose, content, token).verify_slice(&hex::decode(given).ok()?).ok()?;
        (expires > now).then(|| (Self { token: name.to_owned(), uid, expires }, token))
    }
}

/// Returns how the audit log names a user of this host.
pub(super) fn uid_name(uid: u32) -> String {
    format!("uid {uid}")
}

fn mac(purpose: Purpose, content: &str, token: &Token) -> Hmac<Sha256> {
    let purpose = match purpose {
        Purpose::Code => "tinqs-ci code 1\n",
        Purpose::Session => "tinqs-ci session 1\n",
    };
    let secret = token.secret.expose().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length");
    mac.update(purpose.as_bytes());
    mac.update(content.as_bytes());
    mac
}

/// The codes of this process: no two are the same, and none is used twice.
#[derive(Default)]
pub(super) struct Codes(Mutex<UsedCodes>);

#[derive(Default)]
struct UsedCodes {
    latest: Option<Timestamp>,
    used: HashMap<String, Timestamp>,
}

impl Codes {
    /// Returns when the next code ends: each ends at another millisecond, and differs by that.
    pub(super) fn end(&self, now: Timestamp) -> Timestamp {
        let mut known = self.0.lock();
        let next = known.latest.map(|latest| latest + SignedDuration::from_millis(1));
        let end = next.map_or(now + CODE, |next| next.max(now + CODE));
        known.latest = Some(end);
        end
    }

    /// Notes that a code is used. Returns whether it is for the first time.
    pub(super) fn take(&self, sealed: &str, ticket: &Ticket, now: Timestamp) -> bool {
        let mut known = self.0.lock();
        known.used.retain(|_, end| *end > now);
        // Only holders of a token make codes. So many of them are no sign-ins.
        if known.used.len() >= KEPT || known.used.contains_key(sealed) {
            return false;
        }
        known.used.insert(sealed.to_owned(), ticket.expires);
        true
    }

    /// Whether a code has been used.
    pub(super) fn is_used(&self, sealed: &str) -> bool {
        self.0.lock().used.contains_key(sealed)
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::Secret;

    use super::*;
    use crate::settings::Right;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn token(name: &str, secret: &str) -> Token {
        Token { name: name.to_owned(), secret: Secret::new(secret), may: Right::Read }
    }

    fn ticket(name: &str) -> Ticket {
        Ticket { token: name.to_owned(), uid: Some(7), expires: NOW + CODE }
    }

    fn opens(sealed: &str, tokens: &[Token], now: Timestamp) -> Option<Ticket> {
        Ticket::open(sealed, Purpose::Session, tokens.iter(), now).map(|(ticket, _)| ticket)
    }

    #[test]
    fn a_ticket_opens_with_its_token_until_it_expires() {
        let tokens = [token("a", "secret-of-a"), token("b.c-d", "secret-of-b")];
        for (name, token) in [("a", &tokens[0]), ("b.c-d", &tokens[1])] {
            for uid in [None, Some(0), Some(1000)] {
                let ticket = Ticket { uid, ..ticket(name) };
                let sealed = ticket.sealed(Purpose::Session, token);
                assert_eq!(opens(&sealed, &tokens, NOW), Some(ticket.clone()));
                let last = NOW + CODE - SignedDuration::from_millis(1);
                assert_eq!(opens(&sealed, &tokens, last), Some(ticket));
                assert_eq!(opens(&sealed, &tokens, NOW + CODE), None);
            }
        }
    }

    #[test]
    fn a_ticket_ends_with_its_token_and_is_none_of_another_one() {
        let tokens = [token("a", "secret-of-a"), token("b", "secret-of-b")];
        let sealed = ticket("a").sealed(Purpose::Session, &tokens[0]);
        assert_eq!(opens(&sealed, &tokens[1..], NOW), None, "removed");
        assert_eq!(opens(&sealed, &[token("a", "another")], NOW), None, "replaced");
        assert_eq!(opens(&sealed, &[token("z", "secret-of-a")], NOW), None, "renamed");
        assert_eq!(opens(&sealed.replacen('a', "b", 1), &tokens, NOW), None, "another's name");
        let by_empty = ticket("e").sealed(Purpose::Session, &token("e", ""));
        assert_eq!(opens(&by_empty, &[token("e", "")], NOW), None, "an empty token admits nobody");
        let code = ticket("a").sealed(Purpose::Code, &tokens[0]);
        assert_eq!(opens(&code, &tokens, NOW), None, "for another purpose");
    }

    #[test]
    fn every_changed_or_cut_ticket_is_refused() {
        let tokens = [token("a", "secret-of-a")];
        let sealed = ticket("a").sealed(Purpose::Session, &tokens[0]);
        for index in 0..sealed.len() {
            assert_eq!(opens(&sealed[..index], &tokens, NOW), None, "cut at {index}");
            let mut changed = sealed.clone().into_bytes();
            changed[index] ^= 1;
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(opens(&changed, &tokens, NOW), None, "{changed}");
        }
        let longer = format!("{sealed}0");
        let padded = sealed.replacen("a:7:", "a:07:", 1);
        let huge = "a".repeat(100_000);
        for text in ["", ":", ":::", "a:::", "a:7:999999999999999999:00", &longer, &padded, &huge] {
            assert_eq!(opens(text, &tokens, NOW), None, "{text:.40}");
        }
    }

    #[test]
    fn a_code_is_used_once_and_forgotten_when_it_ends() {
        let codes = Codes::default();
        let ends = [codes.end(NOW), codes.end(NOW), codes.end(NOW + CODE)];
        assert!(ends[0] < ends[1] && ends[1] < ends[2], "each is another one");
        let ticket = ticket("a");
        assert!(!codes.is_used("code"));
        assert!(codes.take("code", &ticket, NOW) && codes.is_used("code"));
        assert!(!codes.take("code", &ticket, NOW));
        assert!(codes.take("other", &ticket, NOW + CODE));
        assert_eq!(codes.0.lock().used.len(), 1, "what has ended is forgotten");
    }
}
