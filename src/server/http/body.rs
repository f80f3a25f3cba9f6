//! Reads a webhook's body up to a size limit and within a deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use tokio::time::timeout;

use super::peer::Client;
use super::shares::{Share, Shares};
use super::{BODY_LIMIT, Refusal};

/// The unit of memory for bodies, in bytes.
pub(super) const PIECE: usize = 64 * 1024;
/// The deadline for a whole body.
const DEADLINE: Duration = Duration::from_secs(10);
/// The number of bytes of an oversized body that are read and discarded, so that the sender gets
/// the response instead of a broken connection.
const THROWN_AWAY: usize = 32 * 1024 * 1024;
const THROW_DEADLINE: Duration = Duration::from_secs(3);

/// The part of the body to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The whole body.
    All,
    /// At most this many bytes of its start; the rest is only counted.
    Start(usize),
}

/// A body, whose memory is reserved as long as it lives.
pub(super) struct BufferedBody {
    pub(super) bytes: Bytes,
    /// The length of the whole body.
    pub(super) length: usize,
    memory: Vec<Share>,
}

/// The memory for bodies, and who asks for it.
pub(super) struct BodyBudget<'a> {
    pub(super) shares: &'a Arc<Shares>,
    pub(super) client: Client,
}

/// Reads a body of at most [`BODY_LIMIT`] bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    keep: Keep,
    memory: &BodyBudget<'_>,
) -> Result<BufferedBody, Refusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_LIMIT as u64) {
        // A sender of `Expect` has not sent the body yet.
        if !headers.contains_key(header::EXPECT) {
            throw_away(&mut body).await;
        }
        return Err(too_long());
    }
    let reading = fill(&mut body, keep, memory);
    let filled = timeout(DEADLINE, reading).await.unwrap_or_else(|_| {
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 10 s"))
    });
    if filled.as_ref().is_err_and(|refusal| refusal.status == StatusCode::PAYLOAD_TOO_LARGE) {
        throw_away(&mut body).await;
    }
    filled
}

async fn fill(
    body: &mut Body,
    keep: Keep,
    memory: &BodyBudget<'_>,
) -> Result<BufferedBody, Refusal> {
    let mut buffered = BufferedBody { bytes: Bytes::new(), length: 0, memory: Vec::new() };
    // A delivery usually arrives in one piece, which needs no copy.
    let mut pieces = Vec::new();
    while let Some(piece) = next_piece(body).await? {
        buffered.length += piece.len();
        if buffered.length > BODY_LIMIT {
            return Err(too_long());
        }
        let stored = buffered.bytes.len() + pieces.len();
        let part = match keep {
            Keep::All => piece.len(),
            Keep::Start(most) => piece.len().min(most.saturating_sub(stored)),
        };
        while stored + part > buffered.memory.len() * PIECE {
            let piece = memory.shares.take(memory.client).ok_or_else(|| {
                let detail = "too many large requests at once: try again";
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail).again_in(2)
            })?;
            buffered.memory.push(piece);
        }
        if stored == 0 {
            buffered.bytes = piece.slice(..part);
        } else {
            pieces.extend_from_slice(&std::mem::take(&mut buffered.bytes));
            pieces.extend_from_slice(&piece[..part]);
        }
    }
    if !pieces.is_empty() {
        buffered.bytes = pieces.into();
    }
    Ok(buffered)
}

/// Returns the next bytes; `None` at the end.
async fn next_piece(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                // Ignore trailers.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(_)) => {
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body is incomplete"));
            }
        }
    }
}

async fn throw_away(body: &mut Body) {
    let mut left = THROWN_AWAY;
    let throwing = async {
        while let Ok(Some(piece)) = next_piece(body).await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                break;
            }
        }
    };
    // The response does not depend on how much was discarded.
    let _ = timeout(THROW_DEADLINE, throwing).await;
}

fn too_long() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 10 MiB")
}
