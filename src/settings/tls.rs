//! Reads `[server.tls]`.

use std::path::Path;

use jiff::Timestamp;
use tinqs_ci_net::Part;
use tinqs_ci_reconciler::text::cut;

use super::certificate::Tls;
use super::reader::Reader;

/// Reads the table.
pub(super) fn tls(server: &Reader<'_>) -> Option<Tls> {
    if !server.has("tls") {
        return None;
    }
    let table = server.table("tls");
    let (cert, key) = (table.text("cert"), table.text("key"));
    match Tls::read(Path::new(&*cert?), Path::new(&*key?)) {
        Ok(tls) => {
            let now = Timestamp::now();
            if let Some(problem) = tls.validity(now).problem(now) {
                let file = cut(&tls.cert.to_string_lossy(), 200);
                table.warn("cert", &format!("the certificate in `{file}` {problem}"));
            }
            Some(tls)
        }
        Err((Part::Certificate, why)) => {
            table.mistake("cert", &why);
            None
        }
        Err((Part::Key, why)) => {
            table.mistake("key", &why);
            None
        }
    }
}
