//! A job that runs as a user of the image, with stand-ins for what only root can do.

use tinqs_ci_boot::script;
use tinqs_ci_reconciler::model::RunnerSetup;
use tinqs_ci_testing::fake_runner::Fake;

use super::alone::boot_alone;
use super::{QUICK, attempt_id, beside_steps, in_seconds, usual};

/// Tells what it was asked for, then runs the program.
const SETPRIV: &str = "#!/bin/bash\necho \"${@:1:3}\" >>\"$FAKE/as\"\n\
    while [[ $1 == --* ]]; do shift; done\nexec \"$@\"\n";

/// Returns an image that has the user `runner`, who may use no sudo, and in which everything works.
pub(super) fn image() -> Fake {
    let fake = Fake::new();
    let home = fake.dir.path().join("user");
    std::fs::create_dir(&home).unwrap();
    let entry = format!("runner:x:1234:1235:A name,,:{}:/bin/bash", home.display());
    let getent = format!("#!/bin/bash\n[ \"$*\" = 'passwd runner' ] && echo '{entry}'\n");
    fake.program("getent", &getent);
    fake.program("setpriv", SETPRIV);
    fake.program("sudo", "#!/bin/bash\necho 'sudo: a password is required' >&2\nexit 1\n");
    for name in ["chown", "nft", "usermod"] {
        fake.program(name, &format!("#!/bin/bash\necho \"$*\" >>\"$FAKE/{name}\"\n"));
    }
    fake
}

/// Boots a dedicated machine whose jobs run as this user.
pub(super) fn booted(fake: &Fake, user: &str, docker: bool, instance_profile: &str) {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.deadline = in_seconds(90);
    let machine = &mut attempt.placements[0].machine;
    let user = Some(user.to_owned());
    machine.runner = Some(Box::new(RunnerSetup { user, docker, ..RunnerSetup::default() }));
    instance_profile.clone_into(&mut machine.instance_profile);
    boot_alone(fake, &script(&attempt_id, 0, &attempt));
}

/// The messages where the job cannot reach the metadata service, and where it may become root.
const CLOSED: &str = "the instance metadata service is closed to runner";
const IN_DOCKER: &str = "runner is in the group docker: a job can become root, nothing is fenced";
const HAS_SUDO: &str =
    "runner has sudo without a password: a job can become root, nothing is fenced";

/// Asserts what the machine of a job that ran said about the fence.
fn assert_says(fake: &Fake, fence: &str) {
    assert_eq!(beside_steps(fake), ["the job runs as runner", fence, QUICK[0], QUICK[1]]);
}

/// Asserts that no runner started, for this reason.
fn assert_powers_off(fake: &Fake, user: &str, said: &str) {
    let as_user = format!("the job runs as {user}");
    assert_eq!(beside_steps(fake), [as_user.as_str(), said]);
    assert_eq!(fake.heard("arguments"), "");
}

#[test]
fn a_job_runs_as_the_user_in_its_home() {
    let fake = image();
    booted(&fake, "runner", false, "");
    let home = fake.dir.path().join("user");
    let of = |name: &str| {
        let text = fake.heard("environment");
        let begin = format!("{name}=");
        text.lines().find_map(|line| line.strip_prefix(&begin).map(str::to_owned))
    };
    assert_eq!(of("HOME"), Some(home.display().to_string()));
    assert_eq!((of("USER"), of("LOGNAME")), (Some("runner".into()), Some("runner".into())));
    // The question to sudo, the login shell and the runner.
    let identity = "--reuid=1234 --regid=1235 --init-groups\n";
    assert_eq!(fake.heard("as"), identity.repeat(3));
    let owned = format!(
        "1234:1235 {0}/tinqs-ci\n-R 1234:1235 .\n1234:1235 {0}/.gitconfig\n",
        home.display()
    );
    assert_eq!(fake.heard("chown"), owned);
    assert!(home.join("tinqs-ci/.runner").exists() && home.join(".gitconfig").exists());
    let own = fake.dir.path().join("home");
    assert!(own.join("tinqs-ci/.started").exists(), "the script's own state stays with it");
    assert!(!own.join("tinqs-ci/.runner").exists() && !own.join(".gitconfig").exists());
    assert_eq!(fake.heard("modes"), "700\n600\n600\n");
    assert_eq!(fake.heard("usermod"), "");
    let fence = fake.heard("nft");
    assert!(fence.contains("meta skuid 1234 ip daddr 169.254.169.254 reject"), "{fence}");
    assert_says(&fake, CLOSED);
}

#[test]
fn the_metadata_service_is_open_to_a_job_with_docker_or_a_role() {
    let open = "the instance metadata service is open to runner";
    for (docker, profile, said) in
        [(true, "", IN_DOCKER), (true, "role", IN_DOCKER), (false, "role", open)]
    {
        let fake = image();
        booted(&fake, "runner", docker, profile);
        assert_eq!(fake.heard("nft"), "", "{docker} {profile}");
        let added = if docker { "-aG docker runner\n" } else { "" };
        assert_eq!(fake.heard("usermod"), added);
        assert_says(&fake, said);
    }
}

#[test]
fn iptables_fences_where_nft_does_not_work_and_the_console_says_if_nothing_does() {
    let fake = image();
    fake.program("nft", "#!/bin/bash\nexit 1\n");
    fake.program("ip6tables", "#!/bin/bash\nexit 1\n");
    fake.program("iptables", "#!/bin/bash\necho \"$*\" >>\"$FAKE/iptables\"\n");
    booted(&fake, "runner", false, "");
    let rule = "-I OUTPUT -d 169.254.169.254 -m owner --uid-owner 1234 -j REJECT\n";
    assert_eq!(fake.heard("iptables"), rule);
    assert_says(&fake, CLOSED);

    let fake = image();
    for name in ["nft", "ip6tables", "iptables"] {
        fake.program(name, "#!/bin/bash\nexit 1\n");
    }
    booted(&fake, "runner", false, "");
    let open = "neither nft nor iptables works here: runner can reach the instance metadata \
                service";
    assert_says(&fake, open);
}

#[test]
fn a_user_that_the_image_has_in_the_group_docker_is_named() {
    let fake = image();
    fake.program("id", "#!/bin/bash\n[ \"$1\" = -Gn ] && echo 'runner docker'\n");
    booted(&fake, "runner", false, "");
    assert_says(&fake, IN_DOCKER);
}

#[test]
fn a_user_that_the_image_allows_sudo_is_named() {
    for profile in ["", "role"] {
        let fake = image();
        fake.program("sudo", "#!/bin/bash\necho \"$*\" >>\"$FAKE/sudo\"\nexec \"${@:2}\"\n");
        booted(&fake, "runner", false, profile);
        assert_eq!(fake.heard("sudo"), "-n true\n", "it asks for no password");
        assert_says(&fake, HAS_SUDO);
    }
    // The console says nothing of an image without it.
    let fake = image();
    fake.program("sudo", "#!/bin/bash\necho 'setpriv: failed to execute sudo' >&2\nexit 127\n");
    booted(&fake, "runner", false, "");
    assert_says(&fake, CLOSED);
    assert!(!fake.heard("stderr").contains("failed to execute"), "{}", fake.heard("stderr"));
}

#[test]
fn files_that_cannot_be_given_to_the_user_power_the_machine_off() {
    let fake = image();
    fake.program("chown", "#!/bin/bash\nexit 1\n");
    booted(&fake, "runner", false, "");
    let home = fake.dir.path().join("user");
    let said =
        format!("the files of the runner cannot be written in {}: powering off", home.display());
    assert_eq!(beside_steps(&fake), ["the job runs as runner", CLOSED, said.as_str()]);
    assert_eq!(fake.heard("arguments"), "");
}

#[test]
fn an_image_that_lacks_the_user_or_the_group_powers_off() {
    let fake = image();
    booted(&fake, "ghost", false, "");
    let said = "the image has no user ghost, other than root, with a home directory: powering off";
    assert_powers_off(&fake, "ghost", said);

    let fake = image();
    fake.program("getent", "#!/bin/bash\necho 'toor:x:0:0::/root:/bin/bash'\n");
    booted(&fake, "toor", false, "");
    assert_powers_off(&fake, "toor", &said.replace("ghost", "toor"));

    let fake = image();
    fake.program("usermod", "#!/bin/bash\nexit 6\n");
    booted(&fake, "runner", true, "");
    let said = "the image has no group docker: install Docker there: powering off";
    assert_powers_off(&fake, "runner", said);
}

#[test]
fn a_name_that_is_no_name_stays_data() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    let user = Some("a'b$(touch pwned)\n;c".to_owned());
    let setup = RunnerSetup { user, ..RunnerSetup::default() };
    attempt.placements[0].machine.runner = Some(Box::new(setup));
    let text = script(&attempt_id, 0, &attempt);
    assert!(text.contains("\nuser='a-b--touch-pwned---c' in_docker='' fence='1'\n"), "{text}");
}
