//! `serve` and `lambda`: run the server.

use std::ffi::OsString;
use std::time::Duration;

use jiff::Timestamp;
use tinqs_ci_reconciler::text::{chain, cut};

use super::args::{ConfigFile, Insecure};
use super::failure::Failure;
use super::unsafe_settings::{Finding, findings};
use crate::backends::BackendError;
use crate::server::{self, Role};
use crate::settings::{self, ComputeUrl, Env, Loaded, Source, Validity};
use crate::telemetry::{self, traces};

/// The maximum wait for a collector of traces at the end of the server.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Runs the server until a signal. `process:` machines inherit selected `variables`.
pub(super) async fn serve(
    file: ConfigFile,
    role: Role,
    insecure: Insecure,
    env: &Env,
    variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    let loaded = logged(loaded(&file, env))?;
    logged(unexpired(&loaded))?;
    logged(allowed(&loaded, insecure).await)?;
    traces::start(env, &server::replica());
    // A file that was read must be there at each reload, also one that nothing names.
    let source = Source { named: loaded.file.clone(), env: env.clone() };
    let served = Box::pin(server::run(loaded, source, role, variables)).await;
    traces::stop(LAST_SPANS).await;
    logged(served.map_err(|error| failure(&error)))
}

/// Refuses a certificate that no client accepts any more.
fn unexpired(loaded: &Loaded) -> Result<(), Failure> {
    let Some(tls) = &loaded.settings.server.tls else { return Ok(()) };
    let now = Timestamp::now();
    let validity = tls.validity(now);
    let Some(problem) = validity.problem(now).filter(|_| matches!(validity, Validity::Expired(_)))
    else {
        return Ok(());
    };
    let file = cut(&tls.cert.to_string_lossy(), 200);
    let message = format!("server.tls.cert: the certificate in `{file}` {problem}");
    Err(Failure::usage(message).hint("a running server reads the files again when they change"))
}

/// Refuses what is not safe, unless the arguments allow it. The log warns about what they allow.
async fn allowed(loaded: &Loaded, insecure: Insecure) -> Result<(), Failure> {
    let found = findings(loaded).await;
    if let Some(finding) = found.iter().find(|finding| !insecure.allows(finding)) {
        let Finding { allowed_by, message, fix } = finding;
        let allow = allowed_by.map(|flag| format!("; or allow it with `serve {flag}`"));
        return Err(Failure::usage(message).hint(format!("{fix}{}", allow.unwrap_or_default())));
    }
    for Finding { message, fix, .. } in &found {
        tracing::warn!(warning = message, fix, "insecure configuration");
    }
    let settings = &loaded.settings;
    if matches!(settings.compute, ComputeUrl::Process(_)) && settings.process.user.is_none() {
        if settings.process.own {
            tracing::info!("jobs run as the user of this server, as process.user says");
        } else {
            tracing::warn!(
                fix = "set `process.user` to a user of its own for jobs, or to \"self\" if you \
                       trust them; see docs/security.md",
                "jobs run as the user of this server: they can read its secrets and end it",
            );
        }
    }
    Ok(())
}

fn failure(error: &server::Error) -> Failure {
    let message = chain(error);
    match error {
        server::Error::Part(BackendError::Unsupported { hint, .. }) => {
            Failure::usage(message).hint(*hint)
        }
        _ => Failure::failed(message).hint("`tinqs-ci doctor` checks everything that serve needs"),
    }
}

/// Turns a failure into a log line, unless a person reads it or the log leaves errors out.
fn logged<T>(result: Result<T, Failure>) -> Result<T, Failure> {
    let plain = telemetry::for_people() || !tracing::enabled!(tracing::Level::ERROR);
    result.map_err(|failure| if plain { failure } else { failure.logged() })
}

/// Answers invocations of the AWS Lambda runtime until it ends this process.
#[cfg(feature = "aws")]
pub(super) async fn lambda(
    file: ConfigFile,
    env: &Env,
    variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    let loaded = logged(loaded(&file, env))?;
    if !env.contains_key("AWS_LAMBDA_RUNTIME_API") {
        return Err(Failure::usage(
            "`lambda` must be started by AWS Lambda: AWS_LAMBDA_RUNTIME_API is not set",
        )
        .hint("on your own host, use `tinqs-ci serve`"));
    }
    logged(signed(&loaded))?;
    traces::start(env, &server::replica());
    let source = Source { named: loaded.file.clone(), env: env.clone() };
    let served = Box::pin(server::lambda::run(loaded, source, variables)).await;
    logged(served.map_err(|error| failure(&error)))
}

/// Refuses a function whose webhooks nobody signs: everybody can reach its address.
#[cfg(feature = "aws")]
fn signed(loaded: &Loaded) -> Result<(), Failure> {
    if loaded.settings.forge.webhook_secret.is_some() {
        return Ok(());
    }
    Err(Failure::usage(
        "`lambda` takes signed webhooks only, and `forge.webhook_secret` is not set",
    )
    .hint("set the same secret there (or in WEBHOOK_SECRET) and in the forge's webhook"))
}

#[cfg(not(feature = "aws"))]
#[allow(clippy::unused_async, reason = "the same signature as with AWS")]
pub(super) async fn lambda(
    file: ConfigFile,
    env: &Env,
    _variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    loaded(&file, env)?;
    Err(Failure::usage("this build has no AWS adapters, which `lambda` needs")
        .hint("build with the feature `aws`: `cargo build --release --features aws`"))
}

/// Starts the log, loads the settings and logs their warnings.
fn loaded(file: &ConfigFile, env: &Env) -> Result<Loaded, Failure> {
    let loaded = settings::load(file.config.as_deref(), env);
    let configured = loaded.as_ref().ok().and_then(|loaded| loaded.settings.server.log.as_deref());
    telemetry::init(telemetry::filter(env, configured), &server::replica());
    let loaded = loaded?;
    for warning in &loaded.warnings {
        tracing::warn!(warning, "questionable configuration");
    }
    Ok(loaded)
}
