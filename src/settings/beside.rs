//! The addresses of a server of this host, by the configuration beside a command.
//!
//! Only what leads to the server is read: a command works although it cannot read the credentials
//! of the forge, or the configuration has mistakes elsewhere.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tinqs_ci_reconciler::model::Secret;

use super::check::store;
use super::keys::TOP;
use super::load::{merged_leniently, read};
use super::mistake::Mistakes;
use super::reader::{Findings, Reader};
use super::secret_sources::read_text;
use super::server::server;
use super::tree::Env;
use super::types::StoreUrl;

/// The name of the socket of the API in its directory.
const SOCKET: &str = "api.sock";
/// The variable in which systemd names the directory of `RuntimeDirectory=`.
const RUNTIME: &str = "RUNTIME_DIRECTORY";
/// The directory of the packaged unit, for commands without a configuration beside them.
const USUAL_RUNTIME: &str = "/run/tinqs-ci";

/// The address of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalServer {
    /// The possible paths of its socket, in order.
    pub sockets: Vec<PathBuf>,
    /// The address of its API.
    pub api: SocketAddr,
    /// A token of it that this command may read; one that may operate if there is one.
    pub token: Option<Secret>,
    /// The file of its certificate; `None`: it has no TLS.
    pub cert: Option<PathBuf>,
    /// The names under which its API may be called.
    pub hosts: Vec<String>,
}

impl LocalServer {
    /// Reads the configuration file that [`super::load`] would read.
    ///
    /// # Errors
    /// The file that is named cannot be read, or is not TOML.
    pub fn find(named: Option<&Path>, env: &Env) -> Result<Self, Mistakes> {
        let (text, file) = read(named, env)?;
        let tree = merged_leniently(&text, file.as_deref(), env)?;
        // A command must not wait for AWS: it has the socket, or gets its token another way.
        let found = Findings { asks_aws: false, ..Findings::new(env, &tree) };
        let top = Reader::new(TOP, String::new(), None, Some(&tree), &found);
        let store = top.parsed("store", store).unwrap_or(StoreUrl::Memory);
        let table = top.table("server");
        let server = server(&table, Vec::new());
        // The certificate alone: a command can often not read the key.
        let cert = table.has("tls").then(|| table.table("tls").text("cert")).flatten();
        let cert = cert.map(|cert| PathBuf::from(cert.into_owned()));
        let (api, hosts) = (server.api, server.hosts.clone());
        let mut tokens: Vec<_> = server.tokens().collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.may));
        let own = own_token_file(&store, file.as_deref());
        let own = || read_text(&own).ok().map(Secret::new);
        let token = match tokens.first() {
            Some(token) => Some(token.secret.clone()),
            None => own(),
        };
        let usual = file.is_none().then(|| Path::new(USUAL_RUNTIME).join(SOCKET));
        let sockets = runtime_socket(env).into_iter().chain(data_socket(&store)).chain(usual);
        Ok(Self { sockets: sockets.collect(), api, token, cert, hosts })
    }
}

/// Returns the file of the token that `serve` creates if none is configured: in the data directory;
/// without one, beside the configuration file or in the working directory.
pub fn own_token_file(store: &StoreUrl, config: Option<&Path>) -> PathBuf {
    match (store, config) {
        (StoreUrl::Redb(directory), _) => directory.join("api-token"),
        (_, Some(file)) => file.with_extension("api-token"),
        (_, None) => PathBuf::from("tinqs-ci.api-token"),
    }
}

/// Returns the socket in the directory that the service manager gives.
pub fn runtime_socket(env: &Env) -> Option<PathBuf> {
    let directories = env.get(RUNTIME)?;
    let first = directories.split(':').next().filter(|directory| !directory.is_empty())?;
    Some(Path::new(first).join(SOCKET))
}

/// Returns the socket in the data directory, or the link to the other one.
pub fn data_socket(store: &StoreUrl) -> Option<PathBuf> {
    match store {
        StoreUrl::Redb(directory) => Some(directory.join(SOCKET)),
        StoreUrl::Memory | StoreUrl::Dynamodb(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn beside(text: &str, pairs: &[(&str, &str)]) -> LocalServer {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ci.toml");
        std::fs::write(&file, text).expect("written");
        LocalServer::find(Some(&file), &env(pairs)).expect("readable")
    }

    #[test]
    fn a_token_in_aws_is_not_read() {
        let text = "store = \"redb:/none\"\n[forge]\nurl = \"http://x\"\n[[server.token]]\n\
                    name = \"a\"\nsecret = { ssm = \"/ci/token\" }\nmay = \"operate\"\n";
        assert_eq!(beside(text, &[]).token, None);
    }

    #[test]
    fn mistakes_elsewhere_do_not_hide_the_server() {
        let text = "store = \"redb:/x\"\n[forge]\nurl = 5\ntoken = { env = \"NOT_SET\" }\n[server]\n\
                    api = \"127.0.0.1:9\"\n[[server.token]]\nname = \"a\"\nsecret = \"reads-only\"\n\
                    may = \"read\"\n[[server.token]]\nname = \"b\"\nsecret = { env = \"B\" }\n\
                    may = \"operate\"\n";
        let found = beside(text, &[("B", "operates")]);
        assert_eq!(found.api.port(), 9);
        assert_eq!(found.token.expect("one").expose(), "operates");
        assert_eq!(found.sockets, [PathBuf::from("/x/api.sock")]);
        let found = beside(text, &[("RUNTIME_DIRECTORY", "/run/a:/run/b")]);
        assert_eq!(found.token.expect("one").expose(), "reads-only", "the other is not readable");
        assert_eq!(found.sockets[0], PathBuf::from("/run/a/api.sock"));
    }

    #[test]
    fn without_a_configured_token_the_created_one_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_str().expect("text");
        let text = format!("store = \"redb:{path}\"\n");
        assert_eq!(beside(&text, &[]).token, None);
        std::fs::write(folder.path().join("api-token"), "created\n").expect("written");
        assert_eq!(beside(&text, &[]).token.expect("one").expose(), "created");
    }

    #[test]
    fn the_certificate_is_found_although_the_key_cannot_be_read() {
        let tls = "[server]\nhosts = [\"ci.example.com\"]\n[server.tls]\ncert = \"c.pem\"\nkey = \"/none\"\n";
        let found = beside(tls, &[]);
        assert_eq!(found.cert, Some(PathBuf::from("c.pem")));
        assert_eq!(found.hosts, ["ci.example.com"]);
        assert_eq!(
            beside("", &[("TINQS_CI_SERVER__TLS__CERT", "v.pem")]).cert,
            Some("v.pem".into())
        );
        assert_eq!(beside("", &[]).cert, None);
    }

    #[test]
    fn a_file_that_is_named_must_be_readable() {
        let missing = LocalServer::find(Some(Path::new("/nonexistent/ci.toml")), &Env::new());
        assert!(missing.is_err());
    }
}
