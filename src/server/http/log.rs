//! `GET /v1/machines/{id}/log`: the end of what a machine printed.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tinqs_ci_reconciler::model::{AttemptId, Machine, MachineState, Redactor, Secret};
use tinqs_ci_reconciler::ports::PortError;

use super::guard::Identity;
use super::sides::{machine_id, unknown_machine};
use super::{App, Ctx, Refusal};
use crate::api::{LOG_CUT, LOG_TAIL_LIMIT, MACHINE_STATE};
use crate::settings::Right;

/// The default number of bytes.
const TAIL: usize = 64 * 1024;

/// The query. An empty value counts as unset.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogQuery {
    tail: String,
}

impl LogQuery {
    fn bytes(&self) -> Result<usize, Refusal> {
        if self.tail.is_empty() {
            return Ok(TAIL);
        }
        let tail = self.tail.parse().ok().filter(|tail| (1..=LOG_TAIL_LIMIT).contains(tail));
        tail.ok_or_else(|| {
            let detail = "`tail` must be a number of bytes from 1 to 1048576";
            Refusal::new(StatusCode::BAD_REQUEST, detail)
        })
    }
}

/// `GET /v1/machines/{id}/log[?tail=BYTES]`: plain text without the credentials of the attempt and
/// of the configuration; 204 if there is no output, yet or, of a machine that is gone, any more. A
/// job may have written to it, so the right to read is not enough.
pub(super) async fn log(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path(id): Path<String>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    caller.needs(Right::Operate)?;
    let Query(query) = query.map_err(|_| {
        let detail = "invalid query: the only known parameter is `tail`";
        Refusal::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let most = query.bytes()?;
    let id = machine_id(&id)?;
    let compute = &app.controller.ports().compute;
    let machine = compute.find(&id).await?.ok_or_else(unknown_machine)?;
    let redactor = redactor(&app, &machine).await?;
    let longest = redactor.longest();
    let found = compute.log(&id, most.saturating_add(longest)).await?;
    let state = (HeaderName::from_static(MACHINE_STATE), state(&machine));
    let Some(found) = found else {
        return Ok((StatusCode::NO_CONTENT, [state]).into_response());
    };
    // Where the log was cut, it may begin with the end of a credential.
    let unsure = if found.cut { longest.min(found.bytes.len()) } else { 0 };
    let from = found.bytes.len().saturating_sub(most).max(unsure);
    let cut = if found.cut || from > 0 { "true" } else { "false" };
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (HeaderName::from_static(LOG_CUT), cut),
        state,
    ];
    Ok((headers, text(&redactor.redact(&found.bytes, from))).into_response())
}

/// Returns the redactor of what a machine may have printed. The registration of a past attempt is not
/// valid any more.
async fn redactor(app: &App, machine: &Machine) -> Result<Redactor, PortError> {
    let AttemptId { run, uid, number } = &machine.attempt_id;
    let run = app.controller.ports().store.get(run).await?;
    let attempt = run.filter(|run| run.uid.short() == *uid).and_then(|run| run.status.attempt);
    let attempt = attempt.filter(|attempt| attempt.number == *number);
    let own: Vec<Secret> = attempt.map(|attempt| attempt.secrets()).unwrap_or_default();
    let settings = app.controller.settings();
    Ok(Redactor::new(own.iter().chain(&settings.secrets)))
}

fn state(machine: &Machine) -> &'static str {
    match machine.state {
        MachineState::Booting => "booting",
        MachineState::Up => "up",
        MachineState::Ending => "ending",
        MachineState::Gone => "gone",
    }
}

/// Decodes bytes that may be cut in the middle of a character, at both ends.
fn text(bytes: &[u8]) -> String {
    let continues = |byte: &&u8| (0x80..0xc0).contains(*byte);
    let begin = bytes.iter().take(3).take_while(continues).count();
    let mut chunks = bytes[begin..].utf8_chunks().peekable();
    let mut out = String::with_capacity(bytes.len());
    while let Some(chunk) = chunks.next() {
        out.push_str(chunk.valid());
        let Err(error) = std::str::from_utf8(chunk.invalid()) else { continue };
        let is_unfinished = error.error_len().is_none() && chunks.peek().is_none();
        if !is_unfinished {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_decoded_whatever_they_are() {
        let cases: [(&[u8], &str); 6] = [
            (b"", ""),
            (b"plain", "plain"),
            ("größe".as_bytes(), "größe"),
            (b"\xb6\xc3\x9fe", "ße"),
            (b"a\xe2\x82b\xff", "a\u{fffd}b\u{fffd}"),
            (b"ends in \xe2\x82", "ends in "),
        ];
        for (bytes, expected) in cases {
            assert_eq!(text(bytes), expected, "{bytes:?}");
        }
    }
}
