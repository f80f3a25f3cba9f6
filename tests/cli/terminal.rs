//! `init` with questions, on a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;
use tinqs_ci::settings;
use tinqs_ci_gitea::Scope;

use crate::command;
use crate::scripted::{Answer, RecordedRequest, Server};

const TOKEN: &str = "0123456789012345678901234567890123456789";

/// A command whose standard input and standard error are a terminal.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// Copies what the command shows to the screen, until the command has ended.
    copier: JoinHandle<()>,
    /// The length of the part of the screen that was read already, in bytes.
    read: usize,
}

/// Makes a terminal. Returns its keyboard, from which its screen is read, and opens it for programs.
pub(crate) fn terminal() -> (File, impl Fn() -> File) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&controller).expect("granted");
    unlockpt(&controller).expect("unlocked");
    let name = ptsname(&controller, Vec::new()).expect("a name");
    let name = name.to_str().expect("UTF-8").to_owned();
    let open = move || File::options().read(true).write(true).open(&name).expect("opened");
    (File::from(controller), open)
}

impl Terminal {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let (keyboard, open) = terminal();
        let mut command = command(args, &[]);
        command.current_dir(folder).stdin(open()).stderr(open()).stdout(Stdio::null());
        let child = command.spawn().expect("it runs");
        let mut from = keyboard.try_clone().expect("cloned");
        let screen = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&screen);
        let copier = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Fails once the command has ended.
            while let Ok(count) = from.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]);
                shared.lock().expect("not poisoned").push_str(&text);
            }
        });
        Self { child, keyboard, screen, copier, read: 0 }
    }

    /// Waits until this text appears after what was read before.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let begun = Instant::now();
        loop {
            let screen = self.screen.lock().expect("not poisoned").clone();
            if let Some(at) = screen[self.read..].find(text) {
                self.read += at + text.len();
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "`{text}` is not in: {screen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Answers the question that contains this text.
    #[track_caller]
    fn answer(&mut self, question: &str, answer: &str) {
        self.expect(question);
        self.expect(": ");
        self.keyboard.write_all(format!("{answer}\n").as_bytes()).expect("it reads");
    }

    /// Waits for the end. Returns the exit code and everything shown.
    fn end(mut self) -> (i32, String) {
        let status = self.child.wait().expect("it ends");
        // The last lines may still be on their way from the terminal.
        self.copier.join().expect("it copies everything");
        let screen = self.screen.lock().expect("not poisoned").clone();
        (status.code().expect("it ended by itself"), screen)
    }
}

fn gitea(asked: &RecordedRequest, _: usize) -> Answer {
    let path = asked.line.split('?').next().unwrap_or_default();
    if path == "GET /api/v1/version" {
        return Answer(200, None, json!({ "version": "1.26.4" }));
    }
    if asked.authorization.as_deref() != Some(&format!("token {TOKEN}")) {
        return Answer(401, None, json!({ "message": "user does not exist" }));
    }
    match path {
        "GET /api/v1/user" => Answer(200, None, json!({ "login": "jo", "is_admin": false })),
        _ if path.starts_with("GET /api/v1/orgs/acme/actions/jobs") => {
            Answer(200, None, json!({ "jobs": [], "total_count": 0 }))
        }
        _ if path.starts_with("GET /api/v1/orgs/acme/actions/runners") => {
            Answer(200, None, json!({ "runners": [], "total_count": 0 }))
        }
        _ => Answer(404, None, json!({ "message": "not found" })),
    }
}

#[test]
fn a_wrong_answer_is_asked_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::new(gitea);
    let mut terminal = Terminal::start(folder.path(), &["init"]);
    terminal.answer("Address of your Gitea", "ftp://nowhere");
    terminal.expect("expected an address");
    terminal.answer("Address of your Gitea", &server.url);
    terminal.answer("Access token", "");
    terminal.expect("no access token was entered");
    terminal.answer("Access token", "a-wrong-token");
    terminal.expect("does not accept the token");
    terminal.answer("Access token", TOKEN);
    terminal.answer("Scope of jobs", "orgs:acme");
    terminal.expect("is not valid");
    terminal.answer("Scope of jobs", "org:acmee");
    terminal.expect("no such organization `acmee`");
    terminal.answer("Scope of jobs", "org:acme");
    terminal.answer("Repositories to serve", "acme");
    terminal.expect("names no repository");
    terminal.answer("Repositories to serve", "");
    terminal.answer("Labels of the machines", "a b");
    terminal.expect("contains whitespace");
    terminal.answer("Labels of the machines", "linux");
    terminal.answer("Address to listen on", ":8080");
    terminal.expect("has no IP address");
    terminal.answer("Address to listen on", "");
    terminal.answer("Webhook URL", "ci.example.com");
    terminal.expect("is not an address");
    terminal.answer("Webhook URL", "");
    terminal.answer("Create the webhook in Gitea now?", "n");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    for secret in [TOKEN, "a-wrong-token"] {
        assert!(!screen.contains(secret), "the token is not shown: {screen}");
    }
    let file = folder.path().join("tinqs-ci.toml");
    let loaded = settings::load(Some(&file), &settings::Env::new()).expect("valid");
    assert_eq!(loaded.settings.forge.token.expect("by file").expose(), TOKEN);
    assert_eq!(loaded.settings.classes[0].labels, ["linux"]);
    assert_eq!(loaded.settings.classes[0].repos, [""; 0]);
}

/// A forge whose tokens may use neither the scope `all` nor an organization, and of which only one
/// may register runners.
fn limited(asked: &RecordedRequest, _: usize) -> Answer {
    let path = asked.line.split('?').next().unwrap_or_default();
    let may_register = asked.authorization.as_deref() == Some(&format!("token {TOKEN}"));
    let list = |key: &str| Answer(200, None, json!({ key: [], "total_count": 0 }));
    let denied = || {
        let message = "token does not have at least one of required scope(s)";
        Answer(403, None, json!({ "message": message }))
    };
    match path {
        "GET /api/v1/version" => Answer(200, None, json!({ "version": "1.26.4" })),
        "GET /api/v1/user" => Answer(200, None, json!({ "login": "jo", "is_admin": false })),
        "GET /api/v1/user/actions/jobs" => list("jobs"),
        "GET /api/v1/user/actions/runners" => list("runners"),
        "GET /api/v1/user/repos" if asked.line.ends_with("page=1") => {
            Answer(200, None, json!([{ "id": 1, "full_name": "jo/site" }]))
        }
        "GET /api/v1/user/repos" => Answer(200, None, json!([])),
        "POST /api/v1/repos/jo/site/actions/runners/registration-token" if may_register => {
            Answer(200, None, json!({ "token": "registration-token" }))
        }
        _ => denied(),
    }
}

#[test]
fn only_what_the_token_may_is_offered_and_the_repositories_are_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::new(limited);
    let mut terminal = Terminal::start(folder.path(), &["init", "--url", &server.url]);
    terminal.answer("Access token", "a-token-that-reads");
    terminal.answer("Scope of jobs (user, repo:OWNER/NAME) [user]", "");
    terminal.expect("the token cannot register runners");
    terminal.expect("write:repository");
    terminal.answer("Access token", TOKEN);
    terminal.answer("Scope of jobs (user, repo:OWNER/NAME) [user]", "");
    terminal.answer("Repositories to serve", "jo/site,jo/infra-*");
    terminal.expect("no repository in `forge.scope` fits");
    terminal.answer("Labels of the machines", "linux");
    terminal.answer("Address to listen on", "");
    terminal.answer("Webhook URL", "");
    terminal.answer("Create the webhook in Gitea now?", "n");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    let file = folder.path().join("tinqs-ci.toml");
    let loaded = settings::load(Some(&file), &settings::Env::new()).expect("valid");
    assert_eq!(loaded.settings.forge.scope, Scope::User);
    assert_eq!(loaded.settings.forge.token.expect("by file").expose(), TOKEN);
    assert_eq!(loaded.settings.classes[0].repos, ["jo/site", "jo/infra-*"]);
}

#[test]
fn the_end_of_the_input_ends_the_questions_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut terminal = Terminal::start(folder.path(), &["init"]);
    // Control-D.
    terminal.expect("Address of your Gitea: ");
    terminal.keyboard.write_all(&[4]).expect("it reads");
    let (code, screen) = terminal.end();
    assert_eq!(code, 2, "{screen}");
    assert!(screen.contains("the input ended"), "{screen}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
}
