//! The command line's client of `/v1`.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{ETAG, IF_MATCH};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use tinqs_ci_net::{Distrust, Trust, http_client_of};
use tinqs_ci_reconciler::model::{Run, RunName, Secret};

use crate::api::explain::{JobExplained, PushExplained};
use crate::api::{Class, LOG_CUT, List, MACHINE_STATE, MachineView, Plan, Problem, Registration};
use tinqs_ci_reconciler::text::cut;
mod backup;
mod drift;
mod error;
mod events;
mod passes;
mod pauses;
mod sign_in;
mod status;
mod usage;

pub use backup::Download;
pub use error::Error;
pub use events::{EventFilter, EventStream, Streamed};

/// The default address of the server.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8081";

/// The maximum size of a response, in bytes. No tinqs-ci server sends more.
const LARGEST_ANSWER: usize = 256 * 1024 * 1024;

/// The number of runs requested per page.
const PAGE: usize = 200;

/// Selects runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only runs in this phase.
    pub phase: Option<String>,
    /// Only runs of this class.
    pub class: Option<String>,
    /// Only runs of this repository.
    pub repo: Option<String>,
    /// The maximum number; `None` for all.
    pub limit: Option<usize>,
}

/// A run and its version, for conditional changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The run.
    pub run: Run,
    /// Its `ETag`.
    pub etag: Option<String>,
}

/// The end of what a machine printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The text, as the machine printed it.
    pub bytes: Vec<u8>,
    /// Whether the log has earlier bytes.
    pub cut: bool,
    /// Whether the machine has ended.
    pub gone: bool,
}

/// A client of `/v1`.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    token: Option<Secret>,
}

impl Client {
    /// Creates a client of the server at this address, without connecting.
    ///
    /// # Errors
    /// The address is invalid.
    pub fn new(address: &str, token: Option<Secret>, trust: &Trust) -> Result<Self, Error> {
        let wrong = || Error::Address { url: cut(address, 200) };
        let mut url = Url::parse(address.trim()).map_err(|_| wrong())?;
        let is_http = ["http", "https"].contains(&url.scheme());
        if !is_http || url.cannot_be_a_base() || !url.username().is_empty() {
            return Err(wrong());
        }
        url.set_query(None);
        url.set_fragment(None);
        let http = builder(trust).and_then(reqwest::ClientBuilder::build);
        let http = http.map_err(|error| unreachable(&url, &error))?;
        Ok(Self { http, url, token })
    }

    /// Creates a client of the server at this socket, without connecting.
    ///
    /// # Errors
    /// The client cannot be created.
    pub fn at_socket(socket: &Path) -> Result<Self, Error> {
        let url = Url::parse("http://localhost/")
            .map_err(|_| Error::Address { url: cut(&socket.to_string_lossy(), 200) })?;
        let client = builder(&Trust::System).map(|client| client.unix_socket(socket));
        let http = client
            .and_then(reqwest::ClientBuilder::build)
            .map_err(|error| unreachable(&url, &error))?;
        Ok(Self { http, url, token: None })
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.request_with(method, path, &[])
    }

    fn request_with(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
    ) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Each segment is percent-encoded, so that none can change the path.
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    /// Sends a request about an object of this kind and name.
    async fn send(
        &self,
        request: RequestBuilder,
        kind: &'static str,
        name: &str,
    ) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| unreachable(&self.url, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(response).await.unwrap_or_default();
        let problem = serde_json::from_slice::<Problem>(&body).ok();
        let Some(Problem { detail, .. }) = problem else {
            // A 404 from something else, such as a proxy, does not mean that the object is missing.
            let why = format!("{status} without a problem document");
            return Err(Error::Garbled { url: self.url.to_string(), why });
        };
        if status == StatusCode::NOT_FOUND {
            // The server's detail for a missing run repeats this message.
            let adds = detail != format!("{kind} `{name}` not found");
            let detail = if adds { detail } else { String::new() };
            return Err(Error::NotFound { kind, name: cut(name, 100), detail });
        }
        Err(Error::Refused { status, detail })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| unreachable(&self.url, &error))?
        {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                let why = "it is larger than 256 MiB".to_owned();
                return Err(Error::Garbled { url: self.url.to_string(), why });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Error> {
        let body = self.body(response).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::Garbled { url: self.url.to_string(), why: error.to_string() })
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        kind: &'static str,
        name: &str,
    ) -> Result<T, Error> {
        let response = self.send(self.request(Method::GET, path), kind, name).await?;
        self.read(response).await
    }

    /// Returns runs, newest first, from as many pages as needed.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn runs(&self, filter: &RunFilter) -> Result<List<Run>, Error> {
        let RunFilter { phase, class, repo, limit } = filter;
        let mut runs: Vec<Run> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let left = limit.map_or(PAGE, |limit| limit.saturating_sub(runs.len()).min(PAGE));
            if left == 0 {
                return Ok(List { items: runs, next: after });
            }
            let mut query: Vec<(&str, String)> = vec![("limit", left.to_string())];
            for (key, value) in
                [("phase", phase), ("class", class), ("repo", repo), ("after", &after)]
            {
                query.extend(value.iter().map(|value| (key, value.clone())));
            }
            let request = self.request_with(Method::GET, &["runs"], &query);
            let response = self.send(request, "list", "runs").await?;
            let page: List<Run> = self.read(response).await?;
            let stuck = page.next.is_some() && page.next == after;
            runs.extend(page.items);
            after = page.next;
            if after.is_none() || stuck {
                return Ok(List { items: runs, next: None });
            }
        }
    }

    /// Returns a run.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn run(&self, name: &RunName) -> Result<Versioned, Error> {
        let request = self.request(Method::GET, &["runs", name.as_str()]);
        let response = self.send(request, "run", name.as_str()).await?;
        let etag = response.headers().get(ETAG).and_then(|value| value.to_str().ok());
        let etag = etag.map(str::to_owned);
        Ok(Versioned { run: self.read(response).await?, etag })
    }

    /// Returns the plan of a run's next reconcile.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn plan(&self, name: &RunName) -> Result<Plan, Error> {
        self.get(&["runs", name.as_str(), "plan"], "run", name.as_str()).await
    }

    /// Explains what a pushed commit starts.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn explain_push(
        &self,
        repo: &str,
        sha: &str,
        git_ref: Option<&str>,
    ) -> Result<PushExplained, Error> {
        let mut query = vec![("repo", repo.to_owned()), ("sha", sha.to_owned())];
        query.extend(git_ref.map(|name| ("ref", name.to_owned())));
        let request = self.request_with(Method::GET, &["explain", "push"], &query);
        let response = self.send(request, "commit", &format!("{repo}@{sha}")).await?;
        self.read(response).await
    }

    /// Explains the state of a job.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn explain_job(&self, id: i64, repo: Option<&str>) -> Result<JobExplained, Error> {
        let query: Vec<(&str, String)> =
            repo.into_iter().map(|repo| ("repo", repo.to_owned())).collect();
        let request = self.request_with(Method::GET, &["explain", "job", &id.to_string()], &query);
        let response = self.send(request, "job", &id.to_string()).await?;
        self.read(response).await
    }

    /// Returns the machines of the installation.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn machines(&self) -> Result<List<MachineView>, Error> {
        self.get(&["machines"], "list", "machines").await
    }

    /// Returns the installation's runner registrations at the forge.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn registrations(&self) -> Result<List<Registration>, Error> {
        self.get(&["registrations"], "list", "registrations").await
    }

    /// Returns the classes and their usage.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn classes(&self) -> Result<List<Class>, Error> {
        self.get(&["classes"], "list", "classes").await
    }

    /// Deletes a run: its job gets no more machines. With [`Now::Yes`] its machine is terminated
    /// too.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, seen: &Versioned, now: Now) -> Result<(), Error> {
        let name = &seen.run.name;
        let query = match now {
            Now::Yes => vec![("now", "true".to_owned())],
            Now::No => Vec::new(),
        };
        let request = self.request_with(Method::DELETE, &["runs", name.as_str()], &query);
        self.send(if_match(request, seen), "run", name.as_str()).await.map(drop)
    }

    /// Retries a run now: clears its backoff, giving up and deletion.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn retry(&self, seen: &Versioned) -> Result<(), Error> {
        let name = &seen.run.name;
        let request = self.request(Method::POST, &["runs", name.as_str(), "retry"]);
        self.send(if_match(request, seen), "run", name.as_str()).await.map(drop)
    }

    /// Terminates a machine, even mid-job, and returns it as it was before.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn terminate(&self, id: &str) -> Result<MachineView, Error> {
        let request = self.request(Method::POST, &["machines", id, "terminate"]);
        let response = self.send(request, "machine", id).await?;
        self.read(response).await
    }

    /// Returns the end of what a machine printed, at most so many bytes; `None` if it has printed
    /// nothing yet. The log of a machine that is gone may be gone, too, and then is empty.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn log(&self, id: &str, tail: usize) -> Result<Option<LogEnd>, Error> {
        let query = [("tail", tail.to_string())];
        let request = self.request_with(Method::GET, &["machines", id, "log"], &query);
        let response = self.send(request, "machine", id).await?;
        let says = |header: &str, word: &str| {
            response.headers().get(header).is_some_and(|value| value.as_bytes() == word.as_bytes())
        };
        let (cut, gone) = (says(LOG_CUT, "true"), says(MACHINE_STATE, "gone"));
        if response.status() == StatusCode::NO_CONTENT {
            // A machine that is gone prints nothing any more.
            return Ok(gone.then(|| LogEnd { bytes: Vec::new(), cut, gone }));
        }
        Ok(Some(LogEnd { bytes: self.body(response).await?, cut, gone }))
    }
}

/// Whether a deletion terminates the run's machine at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// The machine is terminated.
    Yes,
    /// The machine finishes its job and ends by itself.
    No,
}

fn builder(trust: &Trust) -> reqwest::Result<reqwest::ClientBuilder> {
    // A redirect would send the token elsewhere.
    Ok(http_client_of(trust)?
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_mins(1)))
}

fn if_match(request: RequestBuilder, seen: &Versioned) -> RequestBuilder {
    match &seen.etag {
        Some(etag) => request.header(IF_MATCH, etag),
        None => request,
    }
}

/// Reports the innermost cause, such as "connection refused".
fn unreachable(url: &Url, error: &reqwest::Error) -> Error {
    if let Some(why) = Distrust::of(error) {
        return Error::Distrusted { url: url.to_string(), why };
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let why = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
    Error::Unreachable { url: url.to_string(), why: cut(&why, 200) }
}
