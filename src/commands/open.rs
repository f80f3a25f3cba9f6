//! `open`: prints the address at which a browser signs in, and opens nothing.

use jiff::Timestamp;
use tinqs_ci_reconciler::text::cut;

use super::args::Server;
use super::failure::{Failure, note, out};
use super::reach::Reach;
use crate::settings::Env;
use crate::words::lasting;

/// Prints the address alone, so that another program can take it.
pub(super) async fn open(server: &Server, env: &Env) -> Result<(), Failure> {
    let reach = Reach::find(server, env)?;
    let made = reach.client()?.sign_in().await?;
    let base = reach.page.trim().trim_end_matches('/');
    let path = made.path.strip_prefix("/sign-in?code=").filter(|code| is_plain(code));
    let code = path.ok_or_else(|| {
        Failure::failed("the server's answer is no address of its page")
            .hint("check that --server or TINQS_CI_URL names a tinqs-ci server")
    })?;
    out(&format!("{base}/sign-in?code={code}\n"))?;
    let left = made.expires_at.duration_since(Timestamp::now());
    let until = if left.is_positive() {
        format!("within {}", lasting(left))
    } else {
        format!("until {:.0}", made.expires_at)
    };
    note(&format!(
        "it signs in {}, who may {}, once and {until}; show it to nobody",
        cut(&made.who, 60),
        cut(&made.may, 20)
    ));
    if env.contains_key("SSH_CONNECTION") && is_loopback(base) {
        let port = base.rsplit(':').next().unwrap_or_default();
        note(&format!(
            "a browser on another computer needs a tunnel: ssh -L {port}:127.0.0.1:{port} this host"
        ));
    }
    Ok(())
}

/// Whether it is a code, and nothing that changes what a terminal or a shell does.
fn is_plain(code: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":._-".contains(&b);
    !code.is_empty() && code.len() <= 300 && code.bytes().all(plain)
}

fn is_loopback(url: &str) -> bool {
    let address = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    address.is_some_and(|at| at.starts_with("127.0.0.1:") || at.starts_with("[::1]:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_code_is_printed() {
        for code in ["own:1000:1764518400123:0a1b", "a.b-c_d::1:ff"] {
            assert!(is_plain(code), "{code}");
        }
        for text in ["", "a b", "a\u{1b}[2J", "a&b=c", "$(x)", "a;b", "a'b"] {
            assert!(!is_plain(text), "{text}");
        }
    }
}
