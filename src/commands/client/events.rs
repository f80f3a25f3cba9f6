//! Events: the list, and the stream of server-sent events.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Method, Response};

use super::{Client, Error, unreachable};
use crate::api::{Event, EventList};

/// The server ends a stream earlier.
const STREAM: Duration = Duration::from_mins(10);
/// The longest message of a stream, in bytes. No tinqs-ci server sends a longer one.
const LONGEST: usize = 1024 * 1024;

/// Selects events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only those of this run.
    pub run: Option<String>,
    /// Only those after this time or this ID.
    pub since: Option<String>,
    /// The maximum number.
    pub limit: Option<u32>,
}

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Streamed {
    /// An event.
    Event(Box<Event>),
    /// The server does not know the last event: others may be missing.
    Reset,
    /// The stream ends, because it was read too slowly.
    Dropped,
}

/// A stream of events.
pub struct EventStream {
    response: Response,
    url: reqwest::Url,
    /// The received bytes of messages that were not returned yet.
    rest: Vec<u8>,
}

impl Client {
    /// Returns events, oldest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn events(&self, filter: &EventFilter) -> Result<EventList, Error> {
        let request = self.request_with(Method::GET, &["events"], &filter.query());
        let response = self.send(request, "list", "events").await?;
        self.read(response).await
    }

    /// Follows the events after the one with this ID.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn follow(&self, filter: &EventFilter, last_id: &str) -> Result<EventStream, Error> {
        let request = self.request_with(Method::GET, &["events"], &filter.query());
        let request = request.header(ACCEPT, "text/event-stream").header("last-event-id", last_id);
        let response = self.send(request.timeout(STREAM), "list", "events").await?;
        Ok(EventStream { response, url: self.url.clone(), rest: Vec::new() })
    }
}

impl EventFilter {
    fn query(&self) -> Vec<(&'static str, String)> {
        let Self { run, since, limit } = self;
        let limit = limit.map(|limit| limit.to_string());
        let parts = [("run", run.clone()), ("since", since.clone()), ("limit", limit)];
        parts.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

impl EventStream {
    /// Returns the next message; `None` at the end of the stream.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn next(&mut self) -> Result<Option<Streamed>, Error> {
        loop {
            if let Some(message) = take(&mut self.rest) {
                match read(&message) {
                    Some(streamed) => return Ok(Some(streamed)),
                    None => continue,
                }
            }
            let chunk = self.response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| unreachable(&self.url, &error))? else {
                return Ok(None);
            };
            if self.rest.len() + chunk.len() > LONGEST {
                let why = "a message is longer than 1 MiB".to_owned();
                return Err(Error::Garbled { url: self.url.to_string(), why });
            }
            self.rest.extend_from_slice(&chunk);
        }
    }
}

/// Takes a whole message, which an empty line ends.
fn take(rest: &mut Vec<u8>) -> Option<String> {
    let end = rest.windows(2).position(|two| two == b"\n\n")?;
    let message = rest.drain(..end + 2).collect::<Vec<u8>>();
    Some(String::from_utf8_lossy(&message).into_owned())
}

/// Reads a message. `None`: a comment, or something that this version does not know.
fn read(message: &str) -> Option<Streamed> {
    let (mut name, mut data) = ("", String::new());
    for line in message.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value,
            "data" if data.is_empty() => value.clone_into(&mut data),
            "data" => data.extend(["\n", value]),
            _ => {}
        }
    }
    match name {
        "reset" => Some(Streamed::Reset),
        "dropped" => Some(Streamed::Dropped),
        "" | "message" => serde_json::from_str(&data).ok().map(Streamed::Event),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_from_any_pieces() {
        let text = ": events follow\nretry: 1000\n\nevent: reset\nid: a:1\ndata: {}\n\n:\n\n\
                    event: dropped\ndata: {}\n\nevent: newer\ndata: {}\n\ndata: {\"id\":\ndata: 1}\n\n";
        for size in [1, 3, 1_000] {
            let (mut rest, mut found) = (Vec::new(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                rest.extend_from_slice(piece);
                while let Some(message) = take(&mut rest) {
                    found.extend(read(&message));
                }
            }
            assert_eq!((found, rest.len()), (vec![Streamed::Reset, Streamed::Dropped], 0));
        }
    }

    #[test]
    fn an_event_is_read_from_its_data() {
        let data = serde_json::json!({
            "id": "a:7", "type": "Warning", "reason": "MachineLost", "message": "gone",
            "object": { "kind": "run", "name": "job-7" }, "repo": "acme/web", "job": "build",
            "url": "", "count": 2, "first_at": "2026-01-01T12:00:00Z",
            "last_at": "2026-01-01T12:00:05Z", "by": null,
        });
        let read = read(&format!("id: a:7\ndata: {data}\n\n"));
        let Some(Streamed::Event(event)) = read else { panic!("{read:?}") };
        assert_eq!((event.object.name.as_str(), event.count), ("job-7", 2));
    }
}
