//! The token that the server creates if none is configured, so that the API always has one.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use tinqs_ci_reconciler::model::Secret;

use crate::settings::{Right, Server, StoreUrl, Token, own_token_file};

/// The name of the token in the audit log.
const NAME: &str = "own";

/// Gives the server a token if none is configured: that of its file, which is created once. Without
/// the file nobody is admitted by the address, and the log says so.
pub(super) fn ensure(server: &mut Server, store: &StoreUrl, config: Option<&Path>) {
    if !server.tokens.is_empty() {
        return;
    }
    let file = own_token_file(store, config);
    let path = file.display();
    match read_or_create(&file) {
        Ok((secret, created)) => {
            if created {
                tracing::info!(%path, "created API token, commands on this host find it");
            }
            server.own_token = Some(Token { name: NAME.to_owned(), secret, may: Right::Operate });
        }
        Err(error) => tracing::warn!(
            %path,
            error = %error,
            "cannot keep an API token, the address of the API admits nobody; add a \
             `[[server.token]]` to the configuration",
        ),
    }
}

/// Returns the token in the file, and whether it was created.
fn read_or_create(file: &Path) -> io::Result<(Secret, bool)> {
    match read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        done => return done.map(|secret| (secret, false)),
    }
    let directory = file.parent().filter(|path| !path.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    // Readable by its user only, and complete when it gets its name.
    let mut written = tempfile::NamedTempFile::new_in(directory)?;
    writeln!(written, "{}", hex::encode(bytes))?;
    written.as_file().sync_all()?;
    match written.persist_noclobber(file) {
        Ok(_) => Ok((read(file)?, true)),
        // Another process was faster.
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok((read(file)?, false)),
        Err(error) => Err(error.error),
    }
}

fn read(file: &Path) -> io::Result<Secret> {
    let text = std::fs::read_to_string(file)?;
    let token = text.trim();
    if token.len() < 16 {
        let why = "it holds no token of at least 16 characters: remove it";
        return Err(io::Error::new(ErrorKind::InvalidData, why));
    }
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_token_is_created_once_and_readable_by_its_user_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("data/api-token");
        let (first, created) = read_or_create(&file).expect("created");
        assert!(created && first.expose().len() == 64);
        let mode = std::fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read_or_create(&file).expect("kept"), (first, false));
        std::fs::write(&file, "short\n").expect("written");
        assert!(read_or_create(&file).is_err(), "a short token is not used");
    }
}
