//! The files of the page. Their names contain a hash of their content, so that a browser keeps
//! them.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::server::http::Refusal;

/// A file of the page.
pub(super) struct Asset {
    /// Its path: `/assets/page-0a1b2c3d.css`.
    pub(super) path: String,
    media: &'static str,
    text: &'static str,
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_str!("page.css")));
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("js", "text/javascript; charset=utf-8", include_str!("page.js")));

impl Asset {
    fn new(ending: &str, media: &'static str, text: &'static str) -> Self {
        let hash = hex::encode(Sha256::digest(text.as_bytes()));
        Self { path: format!("/assets/page-{}.{ending}", &hash[..16]), media, text }
    }
}

/// `GET /assets/{file}`.
pub(super) async fn file(Path(file): Path<String>) -> Result<Response, Refusal> {
    let asked = format!("/assets/{file}");
    let asset = [&*STYLE, &*SCRIPT].into_iter().find(|asset| asset.path == asked);
    let Some(asset) = asset else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "this file does not exist: load the page"));
    };
    let headers = [
        (header::CONTENT_TYPE, asset.media),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    Ok((headers, asset.text).into_response())
}
