//! Reads `[class.runner.config]`: the keys of the runner's `config.yaml` that a class may set.

use std::collections::BTreeMap;
use std::path::Path;

use tinqs_ci_reconciler::model::{RunnerCache, RunnerConfig, Secret};
use tinqs_ci_reconciler::text::cut;

use super::forge::{address, not_of_form};
use super::reader::Reader;
use super::secret_sources::read_text;
use super::tree::Value;

/// The maximum size in bytes in the boot script, which EC2 limits as a whole.
const MOST: usize = 3_300;
/// The beginning of a certificate in PEM.
const PEM: &str = "-----BEGIN CERTIFICATE-----";
/// Ten minutes, in seconds.
const LONGEST_WAIT: i64 = 600;

/// Reads the table of `runner`; `None` if it is not there.
pub(super) fn config(runner: &Reader<'_>, in_ec2: bool) -> Option<RunnerConfig> {
    if !runner.has("config") {
        return None;
    }
    let r = runner.table("config");
    let (container, options) = (r.table("container"), r.table("runner"));
    let switch = |r: &Reader<'_>, name: &str| r.has(name).then(|| r.switch(name));
    let timeout = container
        .has("docker_timeout")
        .then(|| container.duration("docker_timeout", 1, LONGEST_WAIT).as_secs());
    let config = RunnerConfig {
        network: container.parsed("network", network),
        force_pull: switch(&container, "force_pull"),
        docker_timeout: timeout.and_then(|seconds| u32::try_from(seconds).ok()),
        insecure: switch(&options, "insecure"),
        envs: envs(&options),
        cache: cache(&r.table("cache")),
        ca: r.parsed("ca", |file| certificates(Path::new(file))),
    };
    if config.ca.is_some() && !in_ec2 {
        r.mistake("ca", "is for machines in EC2: let this host trust the authority");
    }
    let size = size(&config);
    if size > MOST {
        let why = format!("takes {size} bytes of the boot script, and may take {MOST}: shorten it");
        runner.mistake("config", &why);
    }
    Some(config)
}

fn network(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && text.len() <= 64 && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        not_of_form()
    }
}

/// Reads `envs`. No message contains a value.
fn envs(r: &Reader<'_>) -> BTreeMap<String, Secret> {
    let mut envs = BTreeMap::new();
    for (name, node) in r.entries("envs") {
        let key = format!("envs.{}", cut(name, 60));
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !begins || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let why = "is no name of a variable: expected letters, digits and `_`";
            r.mistake_at(&node.at, &key, why);
            continue;
        }
        match &node.value {
            Value::Text(text) => {
                envs.insert(name.to_owned(), Secret::new(text.as_str()));
            }
            other => {
                let why = format!("expected a string, not {}", other.kind());
                r.mistake_at(&node.at, &key, &why);
            }
        }
    }
    envs
}

fn cache(r: &Reader<'_>) -> RunnerCache {
    let text = |name: &str| r.text(name).map(std::borrow::Cow::into_owned);
    let port = r.count("port");
    if let Some(port) = port.filter(|port| *port > u32::from(u16::MAX)) {
        r.mistake("port", &format!("{port} is not valid: from 1 to {}", u16::MAX));
    }
    let cache = RunnerCache {
        enabled: r.has("enabled").then(|| r.switch("enabled")),
        dir: text("dir"),
        host: text("host"),
        port,
        external_server: r.parsed("external_server", server),
        external_secret: r.secret("external_secret"),
    };
    if cache.external_secret.is_some() && cache.external_server.is_none() {
        r.mistake("external_secret", "needs the server in `external_server`");
    }
    cache
}

fn server(text: &str) -> Result<String, String> {
    if text.contains('@') {
        return Err("contains a user name or a password: set `external_secret` instead".to_owned());
    }
    address(text)
}

/// Reads a file of certificates.
fn certificates(file: &Path) -> Result<String, String> {
    let text = read_text(file)?;
    let shown = cut(&file.to_string_lossy(), 200);
    if text.contains("PRIVATE KEY") {
        return Err(format!("the file `{shown}` holds a private key, which no machine may have"));
    }
    if !text.contains(PEM) || !text.is_ascii() {
        return Err(format!("the file `{shown}` holds no certificate in PEM"));
    }
    Ok(text.replace('\r', ""))
}

/// Returns at most how many bytes the texts take in the boot script.
fn size(config: &RunnerConfig) -> usize {
    let RunnerConfig { network, envs, cache, ca, .. } = config;
    let RunnerCache { dir, host, external_server, external_secret, .. } = cache;
    let texts = [network, dir, host, external_server, ca].into_iter().flatten();
    let secrets = envs.values().chain(external_secret).map(Secret::expose);
    let values = texts.map(String::as_str).chain(secrets).map(written).sum::<usize>();
    // Names, quotes and line ends.
    values + envs.keys().map(|name| name.len() + 12).sum::<usize>()
}

/// Returns at most how many bytes a text takes: what is no plain character is escaped.
fn written(text: &str) -> usize {
    let plain = |c: char| c.is_ascii_alphanumeric() || " -._~:/=+,@\n".contains(c);
    text.chars().map(|c| if plain(c) { 1 } else { 10 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_counts_escapes() {
        assert_eq!((written("abc"), written("a\"é"), written("")), (3, 21, 0));
        let envs = BTreeMap::from([("NAME".to_owned(), Secret::new("value"))]);
        assert_eq!(size(&RunnerConfig { envs, ..RunnerConfig::default() }), 5 + 4 + 12);
    }
}
