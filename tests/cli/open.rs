//! `open`: the address alone on standard output.

use serde_json::json;

use crate::scripted::{Answer, Server, problem};
use crate::{CommandOutput, command, said};

fn ask(server: &Server, more: &[(&str, &str)]) -> CommandOutput {
    let env = [("TINQS_CI_URL", server.url.as_str()), ("TINQS_CI_API_TOKEN", "word")];
    said(command(&["open"], &[&env, more].concat()).output().expect("it runs"))
}

fn server(path: &'static str) -> Server {
    Server::new(move |asked, _| {
        assert_eq!(asked.line, "POST /v1/sign-in");
        assert_eq!(asked.authorization.as_deref(), Some("Bearer word"));
        let body = json!({
            "path": path, "expires_at": "2999-01-01T12:00:00Z", "who": "ops\u{1b}[2J", "may": "operate",
        });
        Answer(200, None, body)
    })
}

#[test]
fn the_address_is_all_that_standard_output_has() {
    let server = server("/sign-in?code=ops::1764518400123:0a1b");
    let told = ask(&server, &[]);
    let expected = format!("{}/sign-in?code=ops::1764518400123:0a1b\n", server.url);
    assert_eq!((told.code, told.out), (0, expected));
    assert!(told.err.contains("signs in ops\\u{1b}[2J, who may operate, once"), "{}", told.err);
    assert!(!told.err.contains("ssh"), "{}", told.err);
    let port = server.url.rsplit(':').next().expect("a port");
    let remote = ask(&server, &[("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")]);
    assert!(remote.err.contains(&format!("ssh -L {port}:127.0.0.1:{port}")), "{}", remote.err);
}

#[test]
fn an_answer_that_is_no_address_is_not_printed() {
    for path in [
        "",
        "https://evil.example/",
        "/sign-in?code=",
        "/sign-in?code=$(x)",
        "/sign-in?code=a\u{1b}",
    ] {
        let told = ask(&server(path), &[]);
        assert_eq!((told.code, told.out.as_str()), (1, ""), "{path}");
        assert!(told.err.contains("no address of its page"), "{}", told.err);
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let server = Server::new(|_, _| problem(401, "the API token is missing or wrong"));
    let told = ask(&server, &[]);
    assert_eq!((told.code, told.out.as_str()), (1, ""));
    assert!(told.err.contains("TINQS_CI_API_TOKEN"), "{}", told.err);
}
