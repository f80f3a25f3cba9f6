//! The environment of a job: user, umask, and the variables of a login.

use std::collections::BTreeMap;

use super::alone::boot_alone;
use super::*;

/// A profile as in Debian, which overwrites PATH and reads `profile.d`.
const PROFILE: &str = r#"
PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export PATH
for i in /etc/profile.d/*.sh; do
  if [ -r $i ]; then . $i; fi
done
unset i
"#;

/// Boots a dedicated machine whose `/etc` contains these files.
fn booted_with(fake: Fake, files: &[(&str, &str)], adapt: impl Fn(String) -> String) -> Fake {
    let etc = fake.dir.path().join("etc");
    for (name, text) in files {
        let path = etc.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("/etc/", &format!("{}/", etc.display()))).unwrap();
    }
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.deadline = in_seconds(90);
    boot_alone(&fake, &adapt(script(&attempt_id, 0, &attempt)));
    assert!(!fake.dir.path().join("home/tinqs-ci/.login").exists());
    fake
}

/// Returns the runner's environment, with the first line of each value.
fn environment(fake: &Fake) -> BTreeMap<String, String> {
    let text = fake.heard("environment");
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn user() -> String {
    let told = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().to_owned()
}

/// Asserts the user, home and umask, and that PATH keeps its former entries.
fn assert_at_home(fake: &Fake, home: &str) -> BTreeMap<String, String> {
    let stderr = fake.heard("stderr");
    assert!(stderr.contains("the runner ended with status 0: powering off"), "{stderr}");
    let seen = environment(fake);
    assert_eq!(fake.heard("umask"), "0022\n");
    assert_eq!((&seen["USER"], &seen["LOGNAME"]), (&user(), &user()));
    assert_eq!(seen["HOME"], fake.dir.path().join(home).display().to_string());
    let bin = fake.dir.path().join("bin").display().to_string();
    assert!(seen["PATH"].split(':').any(|dir| dir == bin), "{}", seen["PATH"]);
    seen
}

#[test]
fn the_runner_is_found_in_the_path_of_a_login() {
    let fake = Fake::new();
    let (bin, tools) = (fake.dir.path().join("bin"), fake.dir.path().join("tools"));
    std::fs::create_dir(&tools).unwrap();
    std::fs::rename(bin.join("gitea-runner"), tools.join("gitea-runner")).unwrap();
    let added = format!("PATH=$PATH:/usr/local/go/bin:{}\nexport GOFLAGS=-v\n", tools.display());
    let files = [
        ("environment", "PATH=\"/opt/pam/bin:/usr/bin\"\nLANG=C.UTF-8\n"),
        ("profile", PROFILE),
        ("profile.d/tools.sh", &added),
    ];
    let fake = booted_with(fake, &files, |script| script);
    let seen = assert_at_home(&fake, "home");
    let expected = format!(
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin:{}:{}",
        tools.display(),
        bin.display()
    );
    assert!(seen["PATH"].starts_with(&expected), "{}", seen["PATH"]);
    assert_eq!((seen["GOFLAGS"].as_str(), seen["LANG"].as_str()), ("-v", "C.UTF-8"));
    assert_eq!(beside_steps(&fake), QUICK);
    assert!(!fake.heard("environment").contains("SECRET"));
    assert_eq!(fake.heard("modes"), "700\n600\n600\n");
}

#[test]
fn without_a_profile_the_path_is_kept() {
    let fake = booted_with(Fake::new(), &[], |script| script);
    let seen = assert_at_home(&fake, "home");
    let bin = fake.dir.path().join("bin");
    assert!(seen["PATH"].starts_with(&format!("{}:", bin.display())), "{}", seen["PATH"]);
}

#[test]
fn etc_environment_is_read_as_data() {
    let text = "# a comment\n\
        export PLAIN=one two   # another\n\
        \tQUOTED=\"a 'b' c\"\r\n\
        SINGLE='x=y'\n\
        OPEN=\"open\n\
        EMPTY=\n\
        COMMAND=$(touch $FAKE/pwned)`touch $FAKE/pwned`;touch $FAKE/pwned\n\
        touch $FAKE/pwned\n\
        BAD-NAME=x\n\
        1ST=x\n\
        =x\n\
        PATH=/opt/pam/bin\n\
        HOME=/nowhere\n\
        USER=nobody\n\
        LAST=without a line end";
    let fake = booted_with(Fake::new(), &[("environment", text)], |script| script);
    let seen = assert_at_home(&fake, "home");
    let expected = [
        ("PLAIN", "one two"),
        ("QUOTED", "a 'b' c"),
        ("SINGLE", "x=y"),
        ("OPEN", "open"),
        ("EMPTY", ""),
        ("COMMAND", "$(touch $FAKE/pwned)`touch $FAKE/pwned`;touch $FAKE/pwned"),
        ("LAST", "without a line end"),
    ];
    for (name, value) in expected {
        assert_eq!(seen.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(seen["PATH"].starts_with("/opt/pam/bin:"), "{}", seen["PATH"]);
    for name in ["BAD-NAME", "1ST", ""] {
        assert!(!seen.contains_key(name), "{name}");
    }
    assert!(!fake.said("pwned").exists());
}

#[test]
fn a_broken_profile_loses_only_its_own_exports() {
    let lost = "ended or replaced its shell";
    // The boot script's own time limit, and replacements for slow profiles: one that ends on
    // SIGTERM gets plenty of time even on a busy machine; one that ignores SIGTERM gets little.
    let (own, ends, never_ends) = ("timeout -k 2 10 ", "timeout -k 60 10 ", "timeout -k 0.5 10 ");
    // A profile, whether its exports survive, and the expected warning.
    let profiles = [
        ("echo noise; echo noise >&2; export OK=1; false", true, ""),
        ("export OK=1; exit 7; export LATE=1", true, ""),
        ("set -e; export OK=1; false; export LATE=1", true, ""),
        ("set -u; export OK=1; echo $missing; export LATE=1", true, ""),
        ("export OK=1\nnot_a_command\n. /etc/missing\n(", true, ""),
        ("export OK=1; umask 077; ulimit -n 10; cd /; set -C -f -- a b; IFS=/", true, ""),
        ("export OK=1 HOME=/nowhere USER=nobody LOGNAME=nobody; unset PATH", true, ""),
        ("export OK=1 PATH=/nowhere; env() { false; }; readonly HOME USER PATH", true, ""),
        ("export OK=1; sleep 1000 & f() { :; }; export -f f; export TWO=$'a\\nOK=2'", true, ""),
        ("export OK=1; trap - EXIT; exit", false, lost),
        ("export OK=1; exec true", false, lost),
        ("export OK=1; kill -KILL $$", false, lost),
        ("export OK=1; while :; do sleep 1000; done", true, "was stopped after 10 s"),
        ("export OK=1; trap '' TERM; while :; do :; done", false, lost),
    ];
    for (profile, kept, said) in profiles {
        let patience = if profile.contains("trap '' TERM") { never_ends } else { ends };
        let patient = |script: String| {
            assert!(script.contains(own));
            script.replace(own, patience)
        };
        let files = [("environment", "PAM=1\n"), ("profile", profile)];
        let fake = booted_with(Fake::new(), &files, patient);
        let seen = assert_at_home(&fake, "home");
        assert_eq!(seen.contains_key("OK"), kept, "{profile}: {seen:?}");
        assert_eq!(seen.get("PAM").map(String::as_str), Some("1"), "{profile}");
        assert!(!seen.contains_key("LATE"), "{profile}");
        let stderr = fake.heard("stderr");
        assert!(stderr.contains(said) && !stderr.contains("noise"), "{profile}: {stderr}");
        // One line of this step, after the first one and before the runner is found.
        let console = fake.console();
        assert_eq!(console.len(), 3 + QUICK.len(), "{profile}: {stderr}");
        let is_well = console[1] == LOGIN;
        assert_eq!(is_well, said.is_empty(), "{profile}: {stderr}");
        let is_quiet = stderr.lines().count() == console.len();
        assert!(is_quiet || !is_well, "{profile}: {stderr}");
    }
}

#[test]
fn a_process_machine_keeps_the_controllers_environment() {
    let attempt_id = attempt_id();
    let fake = Fake::new();
    let etc = fake.dir.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    std::fs::write(etc.join("environment"), "READ=1\n").unwrap();
    std::fs::write(etc.join("profile"), "export READ=1\n").unwrap();
    let text = script(&attempt_id, 0, &usual(&attempt_id))
        .replace("/etc/", &format!("{}/", etc.display()));
    let mut machine = Machine::boot_as(fake, "quick", &attempt_id, &text);
    machine.ends();
    let seen = assert_at_home(&machine.fake, "home");
    assert!(!seen.contains_key("READ"), "{seen:?}");
    assert_eq!(seen[MARKER], attempt_id.token(0));
    let bin = machine.fake.dir.path().join("bin");
    assert!(seen["PATH"].starts_with(&format!("{}:", bin.display())), "{}", seen["PATH"]);
}
