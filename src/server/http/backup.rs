//! `GET /v1/backup`: everything that the store keeps, as one stream.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{Extensions, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::Deserialize;
use tinqs_ci_reconciler::ports::{Archive, PortError};
use tokio::sync::mpsc;

use super::guard::Identity;
use super::{App, Ctx, Refusal};
use crate::api::backup::{BACKUP_TYPE, BackupHeader, BackupWriter};
use crate::settings::Right;

/// Parts that are read ahead of a slow client.
const AHEAD: usize = 2;

/// The lines of a part.
type Lines = Result<Vec<u8>, PortError>;

/// The query. An empty value counts as unset.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BackupQuery {
    secrets: String,
}

impl BackupQuery {
    fn secrets(&self) -> Result<bool, Refusal> {
        match self.secrets.as_str() {
            "" | "false" => Ok(false),
            "true" => Ok(true),
            _ => {
                let detail = "`secrets` is `true` or `false`";
                Err(Refusal::new(StatusCode::BAD_REQUEST, detail))
            }
        }
    }
}

/// `GET /v1/backup[?secrets=true]`. A client that gets no last line has no backup: the connection
/// breaks where the store cannot be read further. It is a line of the audit log, as a change is.
pub(super) async fn backup(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    query: Result<Query<BackupQuery>, QueryRejection>,
    method: Method,
    uri: Uri,
    extensions: Extensions,
) -> Result<Response, Refusal> {
    let audited = caller.change(&extensions, &method, &uri);
    let answer = begin(&app, &caller, query).await;
    let status = answer.as_ref().map_or_else(|refusal| refusal.status, Response::status);
    audited.end(status.as_u16());
    answer
}

/// Begins the stream. What is wrong from the first is an error of the request.
async fn begin(
    app: &Arc<App>,
    caller: &Identity,
    query: Result<Query<BackupQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    caller.needs(Right::Operate)?;
    let Query(query) = query.map_err(|_| {
        let detail = "invalid query: the only known parameter is `secrets`";
        Refusal::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let secrets = query.secrets()?;
    let archive = app.archive.clone().ok_or_else(|| {
        let detail = "the store of this server ends with it: there is nothing to back up";
        Refusal::new(StatusCode::NOT_IMPLEMENTED, detail)
    })?;
    let installation = app.live.settings().installation.clone();
    let header = BackupHeader::new(&installation, app.telemetry.now(), secrets);
    let (to, mut lines) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        if let Err(error) = send_all(&*archive, &header, &to).await {
            tracing::error!(error = %error, "cannot read the store for a backup");
            let _ = to.send(Err(error)).await;
        }
    });
    let first = lines.recv().await.transpose()?;
    let stream = unfold((first, lines), |(first, mut lines)| async move {
        let next = match first {
            Some(first) => Ok(first),
            // An error breaks the connection off: its client must not take that for the end.
            None => lines.recv().await?.map_err(io::Error::other),
        };
        Some((next, (None, lines)))
    });
    let headers = [
        (header::CONTENT_TYPE, BACKUP_TYPE),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"tinqs-ci-backup.ndjson\""),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// Sends all lines, until nobody reads them any more.
async fn send_all(
    archive: &dyn Archive,
    header: &BackupHeader,
    to: &mpsc::Sender<Lines>,
) -> Result<(), PortError> {
    let mut snapshot = archive.snapshot().await?;
    let (mut writer, mut lines) = BackupWriter::begin(header);
    while let Some(part) = snapshot.next().await? {
        lines.extend(writer.part(part));
        // Some parts are empty.
        if !lines.is_empty() && to.send(Ok(std::mem::take(&mut lines))).await.is_err() {
            return Ok(());
        }
    }
    lines.extend(writer.end());
    // If nobody reads it, nobody needs the end.
    let _ = to.send(Ok(lines)).await;
    Ok(())
}
