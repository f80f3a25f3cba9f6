//! The command line's client of `/v1`.

use std::time::Duration;

use reqwest::header::{ETAG, IF_MATCH};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use tinqs_ci_reconciler::controller::SweepReport;
use tinqs_ci_reconciler::model::{Run, RunName, Secret};

use crate::api::explain::{JobExplained, PushExplained};
use crate::api::{Class, List, Machine, Plan, Problem, Registration};
use tinqs_ci_reconciler::text::cut;

/// The server that is asked where none is named.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// No answer of ours is larger; what is larger comes from something else.
const LARGEST_ANSWER: usize = 256 * 1024 * 1024;

/// Runs asked for at a time.
const PAGE: usize = 200;

/// What went wrong, told apart by exit code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the server is none.
    #[error("`{url}` is not the address of a server: expected e.g. {DEFAULT_URL}")]
    Address {
        /// What was given.
        url: String,
    },
    /// Nothing answered.
    #[error("the server at {url} is not reached: {why}")]
    Unreachable {
        /// Which.
        url: String,
        /// Why, as far as the system tells.
        why: String,
    },
    /// No such thing.
    #[error("{kind} `{name}` not found{}", detail_after(.detail))]
    NotFound {
        /// Its kind: `run`, `machine`, `commit`.
        kind: &'static str,
        /// The name that was asked for.
        name: String,
        /// What the server adds.
        detail: String,
    },
    /// The server refuses.
    #[error("the server refuses: {status}{}", detail_after(.detail))]
    Refused {
        /// The status.
        status: StatusCode,
        /// What the server says.
        detail: String,
    },
    /// The answer is not what a server of ours says.
    #[error("the answer of {url} is not that of a tinqs-ci server: {why}")]
    Garbled {
        /// Who answered.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

fn detail_after(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {}", cut(detail, 500)) }
}

/// Which runs are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only of this phase.
    pub phase: Option<String>,
    /// Only of this class.
    pub class: Option<String>,
    /// Only of this repository.
    pub repo: Option<String>,
    /// At most so many; `None`: all.
    pub limit: Option<usize>,
}

/// A run, and the version that a change of it may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The run.
    pub run: Run,
    /// Its `ETag`.
    pub etag: Option<String>,
}

/// A server.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    token: Option<Secret>,
}

impl Client {
    /// A client of the server at this address. Nothing is asked yet.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn new(address: &str, token: Option<Secret>) -> Result<Self, Error> {
        let wrong = || Error::Address { url: cut(address, 200) };
        let mut url = Url::parse(address.trim()).map_err(|_| wrong())?;
        let is_http = ["http", "https"].contains(&url.scheme());
        if !is_http || url.cannot_be_a_base() || !url.username().is_empty() {
            return Err(wrong());
        }
        url.set_query(None);
        url.set_fragment(None);
        // A redirect would take the token elsewhere.
        let http = tinqs_ci_net::http_client()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_mins(1))
            .build()
            .map_err(|error| unreachable(&url, &error))?;
        Ok(Self { http, url, token })
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
            // Every part is percent-encoded: none can leave its place.
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

    /// Sends a request about a thing of this kind and name.
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
            // A 404 of something else, a proxy say, tells nothing of ours.
            let why = format!("{status} without a problem document");
            return Err(Error::Garbled { url: self.url.to_string(), why });
        };
        if status == StatusCode::NOT_FOUND {
            // A server of ours says the same of a run, and nothing more.
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
                let why = "it does not end".to_owned();
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

    /// Runs, newest first, over as many pages as it takes.
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

    /// One run.
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

    /// What a look at a run would do.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn plan(&self, name: &RunName) -> Result<Plan, Error> {
        self.get(&["runs", name.as_str(), "plan"], "run", name.as_str()).await
    }

    /// What the forge makes of a commit that is pushed.
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

    /// How a job stands, and why.
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

    /// Machines with our tag.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn machines(&self) -> Result<List<Machine>, Error> {
        self.get(&["machines"], "list", "machines").await
    }

    /// Runner rows of ours at the forge.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn registrations(&self) -> Result<List<Registration>, Error> {
        self.get(&["registrations"], "list", "registrations").await
    }

    /// Classes, and how full they are.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn classes(&self) -> Result<List<Class>, Error> {
        self.get(&["classes"], "list", "classes").await
    }

    /// This job gets no machine any more; `now`: its machine is ended too.
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

    /// Clears backing off, giving up and a deletion.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn retry(&self, seen: &Versioned) -> Result<(), Error> {
        let name = &seen.run.name;
        let request = self.request(Method::POST, &["runs", name.as_str(), "retry"]);
        self.send(if_match(request, seen), "run", name.as_str()).await.map(drop)
    }

    /// Ends a machine, busy or not.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn terminate(&self, id: &str) -> Result<(), Error> {
        let request = self.request(Method::POST, &["machines", id, "terminate"]);
        self.send(request, "machine", id).await.map(drop)
    }

    /// One sweep now.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sweep(&self) -> Result<SweepReport, Error> {
        let response = self.send(self.request(Method::POST, &["sweep"]), "call", "sweep").await?;
        self.read(response).await
    }
}

/// Whether a deleted run's machine is ended at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// It is.
    Yes,
    /// It goes on, and ends by itself.
    No,
}

fn if_match(request: RequestBuilder, seen: &Versioned) -> RequestBuilder {
    match &seen.etag {
        Some(etag) => request.header(IF_MATCH, etag),
        None => request,
    }
}

/// The innermost cause says most: "connection refused".
fn unreachable(url: &Url, error: &reqwest::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let why = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
    Error::Unreachable { url: url.to_string(), why: cut(&why, 200) }
}
