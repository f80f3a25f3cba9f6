//! `init` against a scripted forge.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use expect_test::expect;
use serde_json::{Value, json};
use tinqs_ci::settings;
use tinqs_ci_gitea::Demand;

use crate::scripted::{Answer, RecordedRequest, Server};
use crate::{CommandOutput, tinqs, tinqs_in};

const TOKEN: &str = "0123456789012345678901234567890123456789";

/// Starts a Gitea whose token belongs to an administrator or a plain user.
fn forge(is_admin: bool) -> Server {
    Server::new(move |asked, _| gitea(asked, is_admin))
}

pub(crate) fn gitea(asked: &RecordedRequest, is_admin: bool) -> Answer {
    gitea_of("1.26.4", asked, is_admin)
}

fn gitea_of(version: &str, asked: &RecordedRequest, is_admin: bool) -> Answer {
    let path = asked.line.split('?').next().unwrap_or_default();
    if path == "GET /api/v1/version" {
        return Answer(200, None, json!({ "version": version }));
    }
    if asked.authorization.as_deref() != Some(&format!("token {TOKEN}")) {
        return Answer(401, None, json!({ "message": "user does not exist" }));
    }
    let user = json!({ "login": "jo", "is_admin": is_admin });
    let hook = json!({
        "id": 5, "config": { "url": "http://127.0.0.1:8080/webhook" },
        "events": ["workflow_job"], "active": true,
    });
    match path {
        "GET /api/v1/user" => Answer(200, None, user),
        "GET /api/v1/orgs/acme" => Answer(200, None, json!({ "id": 3, "name": "acme" })),
        _ if path.contains("/orgs/") && !path.contains("/orgs/acme/") => {
            Answer(404, None, json!({ "message": "GetOrgByName" }))
        }
        _ if path.contains("/repos/") && !path.contains("/repos/acme/shop/") => {
            Answer(404, None, json!({ "message": "The target couldn't be found." }))
        }
        "GET /api/v1/admin/actions/jobs" if !is_admin => {
            Answer(403, None, json!({ "message": "user should be the site admin" }))
        }
        // The list exists since 1.25.
        _ if path.ends_with("/actions/jobs") && version < "1.25" => {
            Answer(404, None, json!({ "message": "not found" }))
        }
        _ if path.ends_with("/actions/jobs") => {
            Answer(200, None, json!({ "jobs": [], "total_count": 0 }))
        }
        _ if path.ends_with("/actions/runners") => {
            Answer(200, None, json!({ "runners": [], "total_count": 0 }))
        }
        _ if path.starts_with("GET ") && path.ends_with("/hooks") => Answer(200, None, json!([])),
        _ if path.starts_with("POST ") && path.ends_with("/hooks") => Answer(201, None, hook),
        _ => Answer(404, None, json!({ "message": "not found" })),
    }
}

pub(crate) fn init(folder: &Path, server: &Server, more: &[&str]) -> CommandOutput {
    let args = [&["init", "--url", &server.url], more].concat();
    tinqs_in(folder, &args, &[("GITEA_TOKEN", TOKEN)])
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn init_with_flags_writes_a_valid_configuration() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(true));
    let said = init(folder.path(), &server, &[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    let clean = |text: &str| {
        let folder = folder.path().canonicalize().expect("there");
        let cores = std::thread::available_parallelism().expect("known");
        text.replace(&server.url, "URL")
            .replace(&folder.display().to_string(), "DIR")
            .replace(&format!("limit       = {cores}\n"), "limit       = CORES\n")
    };
    expect![[r#"
        ✓ URL is Gitea 1.26.4
        ✓ the token belongs to jo, an administrator
        ✓ the token can list jobs of all
        ✓ the token can list runners of all
        created DIR/tinqs-ci.token  (a credential, readable only by you)
        created DIR/tinqs-ci.webhook-secret  (a credential, readable only by you)
        created ./tinqs-ci.toml

        Create a webhook of type Gitea at URL/-/admin/hooks (System Webhooks):
          Target URL    http://127.0.0.1:8080/webhook
          Content type  application/json
          Secret        the content of DIR/tinqs-ci.webhook-secret
          Trigger on    Custom events: Workflow Jobs
        Without it, jobs are found within 10s. `tinqs-ci webhook add` creates it for you.

        Gitea delivers to private addresses only with this setting in app.ini:
          [webhook]
          ALLOWED_HOST_LIST = external,127.0.0.1
        Then restart Gitea.

        Next:
          tinqs-ci doctor         checks the setup
          tinqs-ci serve          starts the server
          tinqs-ci webhook test   sends a delivery to the running server
    "#]]
    .assert_eq(&clean(&said.out));
    let file = folder.path().join("tinqs-ci.toml");
    let text = std::fs::read_to_string(&file).expect("written");
    expect![[r##"
        # tinqs-ci: runs each waiting job on its own ephemeral machine.
        # `tinqs-ci schema config` lists every key; `tinqs-ci doctor` checks this file.

        # The directory for runs, and for machines in machines/ below it; relative to the
        # working directory of serve.
        store   = "redb:./data"
        # Machines are child processes on this host.
        compute = "process:"

        [process]
        # "self": jobs run as the user that runs serve, and can read what it can read. Serve only
        # repositories whose authors you trust, or name a user for jobs here; see docs/security.md.
        user = "self"

        [forge]
        url            = "URL"
        token          = { file = "DIR/tinqs-ci.token" }
        # The jobs to serve: all | user | org:NAME | repo:OWNER/NAME.
        scope          = "all"
        # The webhook in Gitea must have the same secret.
        webhook_secret = { file = "DIR/tinqs-ci.webhook-secret" }
        # How often the job list is read; the longest delay after a lost webhook.
        poll_every     = "10s"

        [server]
        # Takes the webhooks of Gitea, and nothing else.
        webhooks = "127.0.0.1:8080"
        # Commands such as `tinqs-ci get` ask here; serve creates their token.
        # api    = "127.0.0.1:8081"

        # The first class whose labels contain every label of a job's runs-on serves it.
        [[class]]
        name        = "default"
        labels      = ["linux", "ubuntu-latest", "ubuntu-24.04", "ubuntu-22.04"]
        # Only jobs of these repositories, such as ["acme/site", "acme/infra-*"]; without it, of all.
        # repos     = []
        # The maximum number of machines: the number of this host's cores.
        limit       = CORES
        # The maximum age of a machine, even mid-job.
        max_age     = "6h"
        # How long a machine waits for a job before it shuts down.
        idle_within = "2m"
    "##]]
    .assert_eq(&clean(&text));

    // The next command needs no variable.
    let loaded = settings::load(Some(&file), &settings::Env::new());
    let loaded = loaded.expect("init writes what serve takes");
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.settings.forge.token.expect("by file").expose(), TOKEN);
    assert_eq!(mode(&folder.path().join("tinqs-ci.token")), 0o600);
    let secret = loaded.settings.forge.webhook_secret.expect("made");
    assert_eq!(secret.expose().len(), 64);
    assert!(!said.out.contains(secret.expose()) && !text.contains(secret.expose()));
    assert!(!said.out.contains(TOKEN) && !text.contains(TOKEN));
    assert_eq!(mode(&folder.path().join("tinqs-ci.webhook-secret")), 0o600);

    let schema = jsonschema::validator_for(&settings::schema()).expect("a schema");
    let value: toml::Table = text.parse().expect("TOML");
    assert!(schema.is_valid(&serde_json::to_value(value).expect("JSON")));
}

/// Returns the name and content of each file.
pub(crate) fn contents(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("there")
        .map(|entry| {
            let path = entry.expect("readable").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("text"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_second_init_checks_and_changes_nothing() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(true));
    assert_eq!(init(folder.path(), &server, &[]).code, 0);
    let before = contents(folder.path());
    let said = tinqs_in(folder.path(), &["init", "--yes"], &[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    expect![[r#"
        kept ./tinqs-ci.toml
        ✓ URL is Gitea 1.26.4
        ✓ the token can list jobs of all
        ✓ the token can list runners of all

        Create a webhook of type Gitea at URL/-/admin/hooks (System Webhooks):
          Target URL    http://127.0.0.1:8080/webhook
          Content type  application/json
          Secret        that of forge.webhook_secret
          Trigger on    Custom events: Workflow Jobs
        Without it, jobs are found within 10s. `tinqs-ci webhook add` creates it for you.

        Gitea delivers to private addresses only with this setting in app.ini:
          [webhook]
          ALLOWED_HOST_LIST = external,127.0.0.1
        Then restart Gitea.

        Next:
          tinqs-ci doctor         checks the setup
          tinqs-ci serve          starts the server
          tinqs-ci webhook test   sends a delivery to the running server
    "#]]
    .assert_eq(&said.out.replace(&server.url, "URL"));
    assert_eq!(contents(folder.path()), before);
    // The same flags agree with the file.
    let labels = "linux,ubuntu-latest,ubuntu-24.04,ubuntu-22.04";
    let same = ["--labels", labels, "--scope", "all", "--repos", "all"];
    assert_eq!(init(folder.path(), &server, &same).code, 0);
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn an_existing_file_that_contradicts_a_flag_is_kept() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(true));
    assert_eq!(init(folder.path(), &server, &[]).code, 0);
    let before = contents(folder.path());
    let asked = server.lines().len();
    let cases: [&[&str]; 6] = [
        &["--url", "https://other.example.com"],
        &["--scope", "org:acme"],
        &["--labels", "arm64"],
        &["--repos", "acme/site,acme/shop"],
        &["--listen", "127.0.0.1:9000"],
        &["--demand", "push"],
    ];
    let errors = cases.map(|more| {
        let said = tinqs_in(folder.path(), &[&["init", "--yes"], more].concat(), &[]);
        assert_eq!(said.code, 2, "{more:?}: {}", said.out);
        said.err.replace(&server.url, "URL")
    });
    expect![[r#"
        error: ./tinqs-ci.toml exists and says `URL`, not --url https://other.example.com
        hint: edit it, or name another file with --output; nothing was changed
        error: ./tinqs-ci.toml exists and says `all`, not --scope org:acme
        hint: edit it, or name another file with --output; nothing was changed
        error: ./tinqs-ci.toml exists and says `linux,ubuntu-latest,ubuntu-24.04,ubuntu-22.04`, not --labels arm64
        hint: edit it, or name another file with --output; nothing was changed
        error: ./tinqs-ci.toml exists and says `all`, not --repos acme/site,acme/shop
        hint: edit it, or name another file with --output; nothing was changed
        error: ./tinqs-ci.toml exists and says `127.0.0.1:8080`, not --listen 127.0.0.1:9000
        hint: edit it, or name another file with --output; nothing was changed
        error: ./tinqs-ci.toml exists and says `auto`, not --demand push
        hint: edit it, or name another file with --output; nothing was changed
    "#]].assert_eq(&errors.concat());
    assert_eq!(contents(folder.path()), before);
    assert_eq!(server.lines().len(), asked, "the file is checked before any request");
}

#[test]
fn an_invalid_file_is_reported_and_kept() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(true));
    let file = folder.path().join("tinqs-ci.toml");
    std::fs::write(&file, "mine").expect("written");
    let said = init(folder.path(), &server, &[]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("./tinqs-ci.toml:1: not TOML"), "{}", said.err);
    assert_eq!(contents(folder.path()), [("tinqs-ci.toml".to_owned(), "mine".to_owned())]);
    assert_eq!(server.lines(), Vec::<String>::new(), "the file is checked before any request");

    let said = init(folder.path(), &server, &["--output", "other.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("tinqs-ci serve --config other.toml"), "{}", said.out);
    assert_eq!(init(folder.path(), &server, &["--output", "no/such/x.toml"]).code, 2);
}

#[test]
fn missing_credentials_of_an_existing_file_are_created() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(true));
    assert_eq!(init(folder.path(), &server, &[]).code, 0);
    let config = std::fs::read_to_string(folder.path().join("tinqs-ci.toml")).expect("there");
    for name in ["tinqs-ci.token", "tinqs-ci.webhook-secret"] {
        std::fs::remove_file(folder.path().join(name)).expect("removed");
    }
    let said = tinqs_in(folder.path(), &["init", "--yes"], &[]);
    assert_eq!(said.code, 2, "no token is given: {}", said.out);
    assert_eq!(contents(folder.path()), [("tinqs-ci.toml".to_owned(), config.clone())]);
    let said = init(folder.path(), &server, &["--create-webhook"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert_eq!(mode(&folder.path().join("tinqs-ci.token")), 0o600);
    let kept = std::fs::read_to_string(folder.path().join("tinqs-ci.toml")).expect("there");
    assert_eq!(kept, config);
    assert_eq!(events(&server), Some(json!(["workflow_job"])), "the webhook is created");
}

#[test]
fn credentials_of_an_earlier_try_are_kept() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(true));
    let secret = folder.path().join("tinqs-ci.webhook-secret");
    std::fs::write(&secret, "of-the-webhook\n").expect("written");
    std::fs::write(folder.path().join("tinqs-ci.token"), format!("{TOKEN}\n")).expect("written");
    let args = ["init", "--yes", "--url", &server.url];
    let said = tinqs_in(folder.path(), &args, &[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(said.out.contains("kept ") && said.out.contains("tinqs-ci.token\n"), "{}", said.out);
    assert_eq!(std::fs::read_to_string(&secret).expect("there"), "of-the-webhook\n");

    let other = tempfile::tempdir().expect("a folder");
    std::fs::write(other.path().join("tinqs-ci.token"), "another-token\n").expect("written");
    let said = init(other.path(), &server, &[]);
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("already exists with another token"), "{}", said.err);
    assert_eq!(contents(other.path()).len(), 1, "nothing was written");
}

#[test]
fn the_token_can_stay_in_a_variable() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(true));
    let args = ["init", "--yes", "--url", &server.url, "--token-env", "CI_TOKEN"];
    let said = tinqs_in(folder.path(), &args, &[]);
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("CI_TOKEN is not set"), "{}", said.err);
    let said = tinqs_in(folder.path(), &args, &[("CI_TOKEN", TOKEN)]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    let text = std::fs::read_to_string(folder.path().join("tinqs-ci.toml")).expect("there");
    assert!(text.contains("token          = { env = \"CI_TOKEN\" }"), "{text}");
    assert!(!folder.path().join("tinqs-ci.token").exists());
}

#[test]
fn a_mistyped_scope_is_an_error_and_no_demand_mode() {
    let cases: [(&str, &[&str]); 6] = [
        ("1.24.7", &["--scope", "org:acmee"]),
        ("1.26.4", &["--scope", "org:acmee"]),
        ("1.26.4", &["--scope", "org:acmee", "--demand", "push"]),
        ("1.24.7", &["--scope", "repo:acme/shopp"]),
        ("1.26.4", &["--scope", "repo:acme/shopp"]),
        ("1.26.4", &["--scope", "repo:acme/shopp", "--demand", "push"]),
    ];
    for (version, more) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::new(move |asked, _| gitea_of(version, asked, false));
        let said = init(folder.path(), &server, more);
        assert_eq!(said.code, 2, "{version} {more:?}: {}", said.out);
        let words = match more[1] {
            "org:acmee" => "no such organization `acmee`",
            _ => "no such repository `acme/shopp`",
        };
        assert!(said.err.contains(words), "{version} {more:?}: {}", said.err);
        assert_eq!(contents(folder.path()), []);
    }
}

#[test]
fn a_token_that_is_not_accepted_is_an_error_and_no_demand_mode() {
    for version in ["1.24.7", "1.26.4"] {
        for more in [&[][..], &["--demand", "push"], &["--scope", "org:acme"]] {
            let folder = tempfile::tempdir().expect("a folder");
            let server = Server::new(move |asked, _| gitea_of(version, asked, true));
            let args = [&["init", "--yes", "--url", &server.url, "--token", "expired"], more];
            let said = tinqs_in(folder.path(), &args.concat(), &[]);
            assert_eq!(said.code, 1, "{version} {more:?}: {}", said.out);
            assert!(said.err.contains("does not accept the token"), "{}", said.err);
            assert_eq!(contents(folder.path()), []);
        }
    }
}

#[test]
fn a_token_with_exactly_the_documented_scopes_brings_no_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    // Without `read:user`, the token may not read its user.
    let server = Server::new(|asked, _| match asked.line.as_str() {
        "GET /api/v1/user" => Answer(403, None, json!({ "message": "required=[read:user]" })),
        _ => gitea(asked, true),
    });
    let said = init(folder.path(), &server, &["--yes"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(!said.out.contains("\n! ") && !said.out.starts_with('!'), "{}", said.out);
    let text = std::fs::read_to_string(folder.path().join("tinqs-ci.toml")).expect("there");
    assert!(text.contains("scope          = \"all\""), "{text}");
}

#[test]
fn every_flag_is_respected() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(false));
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).expect("written");
    let args = [
        "init",
        "--url",
        &server.url,
        "--token-file",
        "token",
        "--scope",
        "org:acme",
        "--labels",
        "linux,ubuntu-latest:docker://node:20",
        "--listen",
        "0.0.0.0:9000",
        "--webhook-url",
        "http://10.0.0.5:9000",
        "--create-webhook",
        "--output",
        "ci.toml",
    ];
    let said = tinqs_in(folder.path(), &args, &[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    let file = folder.path().join("ci.toml");
    let loaded = settings::load(Some(&file), &settings::Env::new()).expect("good");
    let settings = loaded.settings;
    assert_eq!(settings.forge.token.expect("by file").expose(), TOKEN);
    assert_eq!(settings.server.webhooks.to_string(), "0.0.0.0:9000");
    assert!(settings.server.api.ip().is_loopback(), "the API stays on this host");
    assert_eq!(settings.classes[0].labels, ["linux", "ubuntu-latest:docker://node:20"]);
    let made = server.asked().into_iter().find(|asked| asked.line.starts_with("POST"));
    let made = made.expect("the webhook was added");
    assert_eq!(made.line, "POST /api/v1/orgs/acme/hooks");
    let body: Value = serde_json::from_str(&made.body).expect("JSON");
    assert_eq!(body["config"]["url"], "http://10.0.0.5:9000/webhook");
    let secret = settings.forge.webhook_secret.expect("made");
    assert_eq!(body["config"]["secret"], secret.expose());
    assert_eq!(body["events"], json!(["workflow_job"]), "the job list is the truth");
    assert!(said.out.contains("ALLOWED_HOST_LIST = external,10.0.0.5\n"), "{}", said.out);
}

/// Returns the events of the created webhook, if any.
fn events(server: &Server) -> Option<Value> {
    let made = server.asked().into_iter().find(|asked| asked.line.starts_with("POST"))?;
    let body: Value = serde_json::from_str(&made.body).expect("JSON");
    Some(body["events"].clone())
}

#[test]
fn the_created_webhook_sends_the_events_that_the_demand_needs() {
    let all = json!(["workflow_job", "push", "create", "delete", "pull_request"]);
    let jobs = json!(["workflow_job"]);
    // `auto` depends on the server: the job list exists since 1.25.
    let cases: [(&str, bool, &[&str], &Value); 6] = [
        ("1.26.4", true, &[], &jobs),
        ("1.26.4", true, &["--demand", "jobs"], &jobs),
        ("1.26.4", true, &["--demand", "push"], &all),
        ("1.26.4", false, &["--demand", "push", "--scope", "all"], &all),
        ("1.24.7", true, &[], &all),
        ("1.24.7", true, &["--demand", "push"], &all),
    ];
    for (version, is_admin, more, wanted) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::new(move |asked, _| gitea_of(version, asked, is_admin));
        let said = init(folder.path(), &server, &[more, &["--create-webhook"]].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{version} {more:?}: {}", said.out);
        assert_eq!(events(&server).as_ref(), Some(wanted), "{version} {more:?}");
        let push = wanted == &all;
        assert_eq!(said.out.contains("! demand `push`, "), push, "{}", said.out);
        let file = folder.path().join("tinqs-ci.toml");
        let loaded = settings::load(Some(&file), &settings::Env::new());
        let loaded = loaded.expect("init writes what serve takes");
        let demand = match more {
            ["--demand", "jobs", ..] => Demand::Jobs,
            ["--demand", "push", ..] => Demand::Push,
            _ => Demand::Auto,
        };
        assert_eq!(loaded.settings.forge.demand, demand);
    }
}

#[test]
fn the_manual_instructions_name_the_events_and_the_consequence_without_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = forge(true);
    let said = init(folder.path(), &server, &["--demand", "push"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert_eq!(events(&server), None);
    let told = said.out.split_once("  Trigger on").map(|(_, told)| told).unwrap_or_default();
    let told: Vec<&str> = told.lines().take(2).collect();
    expect![[r#"
            Custom events: Workflow Jobs, Push, Create, Delete, all of Pull Request
        Without it, no jobs are found. `tinqs-ci webhook add` creates it for you."#]]
    .assert_eq(&told.join("\n"));
}

#[test]
fn a_server_that_cannot_serve_the_demand_is_rejected_and_nothing_is_written() {
    let cases: [(&str, bool, &[&str]); 3] = [
        ("1.24.7", true, &["--demand", "jobs"]),
        ("1.23.8", true, &["--demand", "push"]),
        ("1.26.4", false, &["--scope", "all"]),
    ];
    let errors = cases.map(|(version, is_admin, more)| {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::new(move |asked, _| gitea_of(version, asked, is_admin));
        let said = init(folder.path(), &server, &[more, &["--create-webhook"]].concat());
        assert_eq!((said.code, events(&server)), (1, None), "{version}: {}", said.out);
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
        said.err
    });
    expect![[r#"
        error: Gitea 1.24.7 has no list of waiting jobs, which needs Gitea 1.25 or newer: upgrade an older server, or set `forge.demand = "push"`, `forge.webhook_secret` and a webhook for pushes to take demand from those
        hint: --demand push needs no job list, only a webhook for pushes
        error: Gitea 1.23.8 is too old: it lacks ephemeral runners
        hint: update to 1.25 or newer; 1.24 is enough for `--demand push`
        error: the token cannot read the job list, which is required
        hint: use an administrator's token (write:admin), or --scope user
    "#]].assert_eq(&errors.concat());
}

#[test]
fn forgejo_is_rejected_by_its_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::new(|asked, _| gitea_of("15.0.0+gitea-1.22.0", asked, true));
    let said = init(folder.path(), &server, &[]);
    expect![[r#"
        error: Forgejo is not supported yet (Forgejo 15.0.0+gitea-1.22.0): its API for Actions differs
        hint: use a Gitea server, 1.25 or newer
    "#]].assert_eq(&said.err);
    assert_eq!(said.code, 2, "{}", said.out);
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
    let said = init(folder.path(), &server, &["--demand", "jobs"]);
    assert_eq!(said.code, 0, "asked for by name: {}{}", said.out, said.err);
    assert!(said.out.contains("not a supported Gitea"), "{}", said.out);
}

#[test]
fn a_token_flag_is_written_to_its_own_file() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(true));
    let said = tinqs_in(folder.path(), &["init", "--url", &server.url, "--token", TOKEN], &[]);
    assert_eq!(said.code, 0, "{}", said.err);
    let file = folder.path().join("tinqs-ci.token");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(std::fs::read_to_string(&file).expect("there"), format!("{TOKEN}\n"));
    let text = std::fs::read_to_string(folder.path().join("tinqs-ci.toml")).expect("there");
    assert!(!text.contains(TOKEN));
}

#[test]
fn missing_and_wrong_flags_are_reported_before_anything_is_written() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), forge(false));
    let said = tinqs(&["init"]);
    assert_eq!(said.code, 2);
    expect![[r#"
        error: cannot ask without a terminal, and --url (or GITEA_URL) and --token-file (or GITEA_TOKEN) are missing
        hint: tinqs-ci init --url https://git.example.com --token-file FILE
    "#]].assert_eq(&said.err);
    let wrong: [(&[&str], i32); 7] = [
        (&["--scope", "orgs:x"], 2),
        (&["--labels", "a b"], 2),
        (&["--labels", "a:vm:x"], 2),
        (&["--listen", ":8080"], 2),
        (&["--webhook-url", "ci.example.com"], 2),
        (&["--listen", "0.0.0.0:1", "--create-webhook"], 2),
        (&["--scope", "all"], 1),
    ];
    let errors = wrong.map(|(more, code)| {
        let said = init(folder.path(), &server, more);
        assert_eq!(said.code, code, "{more:?}: {}", said.err);
        said.err
    });
    expect![[r#"
        error: --scope: "orgs:x" is not valid
        hint: expected all, user, org:NAME or repo:OWNER/NAME
        error: --labels: "a b" contains whitespace or a comma
        hint: for example --labels linux,ubuntu-latest, or --labels '*'
        error: --labels: "a:vm:x" has the schema `vm`: expected `host` or `docker`
        hint: for example --labels linux,ubuntu-latest, or --labels '*'
        error: --listen :8080: ":8080" has no IP address: expected "127.0.0.1:8080", or "0.0.0.0:8080" for all
        hint: for example 127.0.0.1:8080, or 0.0.0.0:8080 for all addresses
        error: --webhook-url: "ci.example.com" is not an address
        hint: for example http://10.0.0.5:8080/webhook
        error: --create-webhook needs --webhook-url when listening on all addresses
        hint: add the address that Gitea can reach: --webhook-url http://10.0.0.5:8080/webhook
        error: the token cannot read the job list, which is required
        hint: use an administrator's token (write:admin), or --scope user
    "#]].assert_eq(&errors.concat());
    let left = std::fs::read_dir(folder.path()).expect("there").count();
    assert_eq!(left, 0, "nothing was written");

    let said = tinqs_in(folder.path(), &["init", "--url", "ftp://x", "--token", "x"], &[]);
    assert_eq!(said.code, 2, "{}", said.err);
    let said = tinqs_in(folder.path(), &["init", "--url", "127.0.0.1:9", "--token", "x"], &[]);
    assert_eq!(said.code, 1, "{}", said.err);
    let shown = "cannot reach https://127.0.0.1:9";
    assert!(said.err.contains(shown) && said.err.contains("write http://"), "{}", said.err);
    let said =
        tinqs_in(folder.path(), &["init", "--url", "http://127.0.0.1:9", "--token", "x"], &[]);
    assert_eq!(said.code, 1, "{}", said.err);
    let said = tinqs_in(folder.path(), &["init", "--url", &server.url, "--token", "wrong"], &[]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(!said.err.contains("wrong\n"), "{}", said.err);
}

#[test]
fn aws_flags_exclude_forge_flags() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = tinqs_in(folder.path(), &["init", "--aws", "--scope", "all"], &[]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("'--aws' cannot be used with '--scope <SCOPE>'"), "{}", said.err);
    let said = tinqs_in(folder.path(), &["init", "--dry-run"], &[]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("were not provided: --aws"), "{}", said.err);
    let said = tinqs_in(folder.path(), &["init", "--aws"], &[]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    let lacks = if cfg!(feature = "aws") { "no configuration" } else { "no AWS adapters" };
    assert!(said.err.contains(lacks), "{}", said.err);
    for other in [&["--scope", "all"][..], &["--aws"], &["--dry-run"]] {
        let said = tinqs_in(folder.path(), &[&["init", "--from-lambda"], other].concat(), &[]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{other:?}");
        assert!(said.err.contains(other[0]), "{other:?}: {}", said.err);
    }
    let said = tinqs_in(folder.path(), &["init", "--from-lambda"], &[]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    let lacks = if cfg!(feature = "aws") { "none of the variables" } else { "no AWS adapters" };
    assert!(said.err.contains(lacks), "{}", said.err);
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0, "nothing is written");
}
