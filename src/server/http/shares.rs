//! Shares of a limited good, such as connections or memory, among clients.
//!
//! A client gets no more once it holds as much as is left. Alone it gets half, two get a third
//! each, and so on: however much the others hold, something is left for the next client.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

use super::peer::Client;

/// A limited number of units. A client is an address, or whatever else identifies one.
pub(super) struct Shares<C: Eq + Hash = Client>(Mutex<State<C>>);

struct State<C> {
    left: usize,
    held: HashMap<C, usize>,
}

/// One unit, given back when dropped.
pub(super) struct Share<C: Eq + Hash = Client> {
    of: Arc<Shares<C>>,
    client: C,
}

/// The unit of a connection; each of its requests carries it as an extension. It is given back with
/// the connection, or before that by a request that another limit counts from then on.
#[derive(Clone, Default)]
pub(super) struct Place(Arc<Mutex<Option<Share>>>);

impl Place {
    pub(super) fn new(share: Share) -> Self {
        Self(Arc::new(Mutex::new(Some(share))))
    }

    /// Gives the unit back.
    pub(super) fn leave(&self) {
        drop(self.0.lock().take());
    }
}

impl<C: Clone + Eq + Hash> Shares<C> {
    pub(super) fn new(units: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { left: units, held: HashMap::new() })))
    }

    /// Takes a unit; `None` if the client already holds its share.
    pub(super) fn take(self: &Arc<Self>, client: C) -> Option<Share<C>> {
        let mut state = self.0.lock();
        let held = state.held.get(&client).copied().unwrap_or(0);
        if held >= state.left {
            return None;
        }
        state.left -= 1;
        *state.held.entry(client.clone()).or_default() += 1;
        Some(Share { of: self.clone(), client })
    }
}

impl<C: Eq + Hash> Drop for Share<C> {
    fn drop(&mut self) {
        let mut state = self.of.0.lock();
        state.left += 1;
        if let Some(held) = state.held.get_mut(&self.client) {
            *held -= 1;
            // Clients come and go; the map keeps only those with connections.
            if *held == 0 {
                state.held.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> Client {
        Client::at([10, 0, 0, number].into())
    }

    fn take_all(shares: &Arc<Shares>, client: Client) -> Vec<Share> {
        std::iter::from_fn(|| shares.take(client)).collect()
    }

    #[test]
    fn one_client_gets_half_and_every_other_one_finds_something_left() {
        let shares = Shares::new(512);
        let mut all = vec![take_all(&shares, client(1))];
        assert_eq!(all[0].len(), 256);
        assert_eq!(take_all(&shares, client(2)).len(), 128);
        for number in 2..=8 {
            all.push(take_all(&shares, client(number)));
            assert!(!all[usize::from(number) - 1].is_empty(), "client {number}");
        }
        assert!(shares.take(client(9)).is_some());
    }

    #[test]
    fn a_place_is_given_back_once_by_whoever_comes_first() {
        let shares = Shares::new(2);
        let place = Place::new(shares.take(client(1)).expect("all are left"));
        let of_request = place.clone();
        assert!(shares.take(client(1)).is_none(), "it holds as much as is left");
        of_request.leave();
        of_request.leave();
        drop(place);
        assert_eq!(shares.0.lock().left, 2);
        let place = Place::new(shares.take(client(1)).expect("all are left"));
        drop(place);
        assert_eq!(shares.0.lock().left, 2, "also without a request");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let shares = Shares::new(8);
        let first = take_all(&shares, client(1));
        assert_eq!(first.len(), 4);
        drop(first);
        assert_eq!(take_all(&shares, client(2)).len(), 4);
        assert!(shares.0.lock().held.is_empty(), "no client is kept");
    }
}
