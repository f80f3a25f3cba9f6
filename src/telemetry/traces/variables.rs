//! The standard variables of OpenTelemetry that say where traces go. The SDK reads the others.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use crate::settings::Env;

/// The only protocol that this program speaks.
const PROTOCOL: &str = "http/protobuf";
/// The path that the general endpoint lacks: it is for all signals.
const PATH: &str = "v1/traces";
/// The samplers that the SDK has, the default first.
const SAMPLERS: [&str; 6] = [
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "always_on",
    "always_off",
    "traceidratio",
];
/// The default of the maximum time for an answer of the collector.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The destination of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Collector {
    /// The address of the spans, which may have credentials.
    pub(super) url: Url,
    /// The maximum time for one request.
    #[cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "not used there"))]
    pub(super) timeout: Duration,
    /// The file with authorities that may have issued the collector's certificate.
    #[cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "not used there"))]
    pub(super) authorities: Option<PathBuf>,
    /// The name of the service, if it is set.
    #[cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "not used there"))]
    pub(super) service: Option<String>,
}

impl Collector {
    /// Returns the address without credentials and query, for the log.
    pub(super) fn shown(&self) -> String {
        let mut url = self.url.clone();
        // Fails only for addresses without a host, which are refused.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        url.into()
    }
}

/// Returns where traces go; `None` if nothing says so, or if they are switched off.
///
/// # Errors
/// A variable cannot be used. The error names it, says what is wrong and what to set, and holds no
/// value that may have credentials.
pub(super) fn collector(env: &Env) -> Result<Option<Collector>, String> {
    // An empty variable is one that is not set.
    let value = |name: &str| env.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let either =
        |signal, all| value(signal).map(|text| (signal, text)).or_else(|| Some((all, value(all)?)));
    if value("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let endpoint = either("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let Some((name, endpoint)) = endpoint else { return Ok(None) };
    match value("OTEL_TRACES_EXPORTER") {
        Some("none") => return Ok(None),
        None | Some("otlp") => {}
        Some(_) => return Err("OTEL_TRACES_EXPORTER: expected `otlp` or `none`".to_owned()),
    }
    let protocol = either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
    if let Some((name, _)) = protocol.filter(|(_, protocol)| *protocol != PROTOCOL) {
        return Err(format!(
            "{name}: this program speaks `{PROTOCOL}` only: set that, and the collector's address \
             for it (usually port 4318)"
        ));
    }
    let compression =
        either("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION");
    // The SDK reads it too, and then builds no exporter.
    if let Some((name, _)) = compression {
        return Err(format!(
            "{name}: this program sends spans without compression only: remove the variable"
        ));
    }
    sampler(value("OTEL_TRACES_SAMPLER"), value("OTEL_TRACES_SAMPLER_ARG"))?;
    let general = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
    let url = address(endpoint, general)
        .ok_or_else(|| format!("{name}: expected an address such as http://127.0.0.1:4318"))?;
    let timeout = either("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
    let timeout = match timeout {
        None => TIMEOUT,
        Some((name, text)) => match text.parse() {
            Ok(milliseconds @ 1..) => Duration::from_millis(milliseconds),
            _ => return Err(format!("{name}: expected milliseconds, such as 10000")),
        },
    };
    let authorities =
        either("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE");
    let authorities = authorities.map(|(_, file)| file.into());
    let service = value("OTEL_SERVICE_NAME").map(str::to_owned);
    Ok(Some(Collector { url, timeout, authorities, service }))
}

/// Checks the sampler, which the SDK would replace by that of all traces without a word.
fn sampler(name: Option<&str>, argument: Option<&str>) -> Result<(), String> {
    let name = name.unwrap_or(SAMPLERS[0]);
    if !SAMPLERS.contains(&name) {
        return Err(format!("OTEL_TRACES_SAMPLER: expected one of {}", SAMPLERS.join(", ")));
    }
    let is_ratio = |text: &str| text.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio));
    match argument {
        Some(text) if name.ends_with("traceidratio") && !is_ratio(text) => {
            Err("OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1".to_owned())
        }
        Some(_) | None => Ok(()),
    }
}

fn address(endpoint: &str, general: bool) -> Option<Url> {
    let mut url: Url = endpoint.parse().ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return None;
    }
    if general {
        url.path_segments_mut().ok()?.pop_if_empty().extend(PATH.split('/'));
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let collector = collector(&env.collect())?;
        Ok(collector.map(|collector| format!("{} {:?}", collector.url, collector.timeout)))
    }

    const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://one:4318/");

    fn with(more: &[(&str, &str)]) -> Result<Option<String>, String> {
        read(&[&[ALL], more].concat())
    }

    #[test]
    fn traces_are_off_unless_an_endpoint_is_set() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), Ok(None));
        assert_eq!(with(&[]), Ok(Some("http://one:4318/v1/traces 10s".to_owned())));
        for (name, value) in [("OTEL_SDK_DISABLED", "True"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(with(&[(name, value)]), Ok(None), "{name}");
        }
        assert!(matches!(with(&[("OTEL_SDK_DISABLED", "false")]), Ok(Some(_))));
    }

    #[test]
    fn the_variables_of_traces_precede_those_of_all_signals() {
        let own = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://two/spans"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1500"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ];
        assert_eq!(with(&own), Ok(Some("https://two/spans 1.5s".to_owned())));
        let path = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://one/otlp")];
        assert_eq!(read(&path), Ok(Some("http://one/otlp/v1/traces 10s".to_owned())));
    }

    #[test]
    fn what_is_wrong_names_the_variable_and_no_value() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:key@/"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "-5"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "some"),
            ("OTEL_TRACES_SAMPLER_ARG", "10%"),
        ] {
            let ratio = ("OTEL_TRACES_SAMPLER", "traceidratio");
            let error = with(&[ratio, (name, value)]).expect_err(name);
            assert!(error.starts_with(&format!("{name}: ")) && !error.contains(value), "{error}");
        }
        let tenth = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.1")];
        assert!(matches!(with(&tenth), Ok(Some(_))));
    }

    #[test]
    fn the_log_shows_no_credential_of_the_address() {
        let url = "http://user:key@one:4318/v1/traces?token=key#key".parse().expect("an address");
        let collector = Collector { url, timeout: TIMEOUT, authorities: None, service: None };
        assert_eq!(collector.shown(), "http://one:4318/v1/traces");
    }
}
