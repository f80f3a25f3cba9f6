//! As whom the jobs of a machine in the cloud run, and what keeps them from the instance metadata
//! service, in words.

use tinqs_ci_reconciler::model::MachineSpec;
use tinqs_ci_reconciler::text::cut;

/// The words of the boot script about that service, after which it names the user.
const CLOSED: &str = "the instance metadata service is closed to ";
/// Its words where no firewall works.
const NO_FIREWALL: &str = "neither nft nor iptables works here: ";
/// Its words if the user is in the group `docker`, by its class or by the image.
const IN_DOCKER: &str = "is in the group docker";
/// Its words if the image lets the user become root by `sudo`.
const HAS_SUDO: &str = "has sudo without a password";
/// Its words after either.
const NOT_FENCED: &str = ": a job can become root, nothing is fenced";

/// The most columns of a user's or a role's name.
const NAME: usize = 100;

/// Says as whom the job of this machine runs, and whether it can reach the instance metadata
/// service, by what the class said when it was asked for, by the labels of its runner and by what
/// the machine has printed. `None` for a machine without a subnet: a process is on a host that
/// tinqs-ci does not know.
pub fn sentence(machine: &MachineSpec, labels: &[String], printed: Option<&str>) -> Option<String> {
    if machine.subnet.is_empty() {
        return None;
    }
    let containers = labels.iter().filter(|label| is_container(label)).count();
    if containers > 0 && containers == labels.len() {
        return Some(in_container(machine));
    }
    let job = if containers > 0 { "a job on the host" } else { "the job" };
    Some(on_host(job, machine, printed.unwrap_or_default()))
}

/// Whether a label has its jobs run in a container: `linux:docker://node:20`.
fn is_container(label: &str) -> bool {
    label.split_once(':').is_some_and(|(_, schema)| schema.starts_with("docker:"))
}

/// The role of a machine, if it has one.
fn role(machine: &MachineSpec) -> Option<String> {
    let role = &machine.instance_profile;
    (!role.is_empty()).then(|| format!("has the role {} by intent", cut(role, NAME)))
}

fn in_container(machine: &MachineSpec) -> String {
    let config = machine.runner.as_deref().and_then(|setup| setup.config.as_ref());
    let shares_network = config.is_some_and(|config| config.network.as_deref() == Some("host"));
    let is_reached = shares_network || machine.options.hop_limit.is_some_and(|hops| hops > 1);
    let service = if is_reached {
        let by = if shares_network { "`network` is `host`" } else { "`hop_limit` lets it" };
        let role = role(machine).map(|role| format!(", and {role}")).unwrap_or_default();
        format!("can reach the instance metadata service ({by}){role}")
    } else {
        "itself does not reach the instance metadata service".to_owned()
    };
    format!(
        "the job runs in a container, which {service}; with the Docker socket of the machine, if \
         it gets that, it can become root there"
    )
}

fn on_host(job: &str, machine: &MachineSpec, printed: &str) -> String {
    let setup = machine.runner.as_deref();
    let role = role(machine);
    let Some(user) = setup.and_then(|setup| setup.user.as_deref()) else {
        let role = role.unwrap_or_else(|| "can reach the instance metadata service".to_owned());
        return format!("{job} runs as root and {role}");
    };
    let job = format!("{job} runs as the user {}", cut(user, NAME));
    let can_become_root = |by: &str| printed.contains(&format!("{by}{NOT_FENCED}"));
    let root_by = if setup.is_some_and(|setup| setup.docker) || can_become_root(IN_DOCKER) {
        Some("in the group docker")
    } else if can_become_root(HAS_SUDO) {
        Some("who has sudo without a password")
    } else {
        None
    };
    if let Some(root_by) = root_by {
        let role = role.map(|role| format!("; it {role}")).unwrap_or_default();
        return format!("{job}, {root_by}: it can become root, nothing is fenced{role}");
    }
    match role {
        Some(role) => format!("{job} and {role}: the instance metadata service is open to it"),
        None if printed.contains(NO_FIREWALL) => format!(
            "{job}, and is not fenced: neither nft nor iptables works on the machine, so the \
             instance metadata service is open to it"
        ),
        None if printed.contains(CLOSED) => {
            format!("{job}; the instance metadata service is closed to it")
        }
        None => format!(
            "{job}; the instance metadata service is closed to it if nft or iptables works on the \
             machine and the user has no sudo there: `tinqs-ci logs RUN` says which"
        ),
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::{Redactor, RunnerConfig, RunnerSetup, Secret};
    use tinqs_ci_reconciler::plan::last_lines;
    use tinqs_ci_reconciler::ports::MachineLog;
    use tinqs_ci_testing::make;

    use super::*;

    /// Says it of a job without a container.
    fn of_host(machine: &MachineSpec, printed: Option<&str>) -> Option<String> {
        sentence(machine, &["linux:host".to_owned()], printed)
    }

    /// Returns a machine in a subnet whose jobs run as this user.
    fn machine(user: Option<&str>, docker: bool, instance_profile: &str) -> MachineSpec {
        let setup = RunnerSetup { user: user.map(str::to_owned), docker, ..RunnerSetup::default() };
        MachineSpec {
            subnet: "subnet-a".to_owned(),
            instance_profile: instance_profile.to_owned(),
            runner: Some(Box::new(setup)),
            ..make::process()
        }
    }

    #[test]
    fn what_follows_from_the_class_is_said() {
        let cases = [
            (machine(None, false, ""), "root and can reach the instance metadata service"),
            (machine(None, false, "deploy"), "root and has the role deploy by intent"),
            (
                machine(Some("runner"), false, ""),
                "the user runner; the instance metadata service is closed to it if nft or \
                 iptables works on the machine and the user has no sudo there: `tinqs-ci logs \
                 RUN` says which",
            ),
            (
                machine(Some("runner"), false, "deploy"),
                "the user runner and has the role deploy by intent: the instance metadata \
                 service is open to it",
            ),
            (
                machine(Some("runner"), true, ""),
                "the user runner, in the group docker: it can become root, nothing is fenced",
            ),
            (
                machine(Some("runner"), true, "deploy"),
                "the user runner, in the group docker: it can become root, nothing is fenced; \
                 it has the role deploy by intent",
            ),
        ];
        for (machine, expected) in cases {
            let expected = format!("the job runs as {expected}");
            assert_eq!(of_host(&machine, None), Some(expected));
        }
        let bare = MachineSpec { runner: None, ..machine(None, false, "") };
        assert_eq!(of_host(&bare, None), of_host(&machine(None, false, ""), None));
        assert_eq!(of_host(&make::process(), None), None);
    }

    #[test]
    fn a_container_is_told_from_the_host() {
        let said = |labels: &[&str], machine: &MachineSpec| {
            let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
            sentence(machine, &labels, None).expect("a sentence")
        };
        let container = ["x64:docker://node:20", "linux:docker://node:20"];
        let mixed = ["linux:docker://node:20", "x64"];
        let root = machine(None, false, "deploy");
        assert_eq!(
            said(&container, &root),
            "the job runs in a container, which itself does not reach the instance metadata \
             service; with the Docker socket of the machine, if it gets that, it can become root \
             there"
        );
        let on_the_host = "a job on the host runs as root and has the role deploy by intent";
        assert_eq!(said(&mixed, &root), on_the_host);
        let host = "the job runs as root and has the role deploy by intent";
        for labels in [&["linux"][..], &["linux:host"], &[]] {
            assert_eq!(said(labels, &root), host, "{labels:?}");
        }
        let mut far = root.clone();
        far.options.hop_limit = Some(2);
        let reaches = "the job runs in a container, which can reach the instance metadata service";
        let by = |by: &str| format!("{reaches} ({by}), and has the role deploy by intent; ");
        let told = said(&container, &far);
        assert!(told.starts_with(&by("`hop_limit` lets it")), "{told}");
        let mut on_network = machine(Some("runner"), true, "deploy");
        let network = Some("host".to_owned());
        let config = Some(RunnerConfig { network, ..RunnerConfig::default() });
        on_network.runner.as_mut().expect("set").config = config;
        let told = said(&container, &on_network);
        assert!(told.starts_with(&by("`network` is `host`")), "{told}");
    }

    /// The lines that the record keeps of a console of EC2, which begins with the kernel.
    #[test]
    fn the_line_about_the_fence_comes_from_the_console_to_the_sentence() {
        let kernel = "[    0.5] the kernel says much\n".repeat(300);
        let tries = "tinqs-ci: +12s starting gitea-runner\nrefused\n".repeat(90);
        let redactor = Redactor::new(&[Secret::new("runner-SECRET")]);
        let job = "the job runs as the user runner";
        for (line, said) in [
            (
                "neither nft nor iptables works here: runner can reach the instance metadata \
                 service",
                ", and is not fenced: ",
            ),
            (
                "the instance metadata service is closed to runner",
                "; the instance metadata service is closed to it",
            ),
            (
                "runner is in the group docker: a job can become root, nothing is fenced",
                ", in the group docker: it can become root, nothing is fenced",
            ),
            (
                "runner has sudo without a password: a job can become root, nothing is fenced",
                ", who has sudo without a password: it can become root, nothing is fenced",
            ),
        ] {
            let text = format!("{kernel}[    9.1] cloud-init[7]: tinqs-ci: +9.9s {line}\n{tries}");
            let log = MachineLog { bytes: text.into_bytes(), cut: true };
            let kept = last_lines(&log, &redactor).expect("lines are kept");
            let told = of_host(&machine(Some("runner"), false, ""), Some(&kept));
            let told = told.expect("a sentence");
            assert!(told.starts_with(&format!("{job}{said}")), "{told}");
        }
    }

    #[test]
    fn what_the_machine_printed_is_heeded() {
        let said = |line: &str| {
            let printed = format!("cloud-init[7]: tinqs-ci: +9.9s {line}\ntinqs-ci: +11s bye");
            of_host(&machine(Some("runner"), false, ""), Some(&printed)).expect("a sentence")
        };
        let job = "the job runs as the user runner";
        let service = "the instance metadata service";
        assert_eq!(
            said("neither nft nor iptables works here: runner can reach the metadata"),
            format!(
                "{job}, and is not fenced: neither nft nor iptables works on the machine, so \
                 {service} is open to it"
            )
        );
        assert_eq!(
            said("the instance metadata service is closed to runner"),
            format!("{job}; {service} is closed to it")
        );
        assert_eq!(
            said("runner is in the group docker: a job can become root, nothing is fenced"),
            format!("{job}, in the group docker: it can become root, nothing is fenced")
        );
        assert_eq!(
            said("runner has sudo without a password: a job can become root, nothing is fenced"),
            format!(
                "{job}, who has sudo without a password: it can become root, nothing is fenced"
            )
        );
        let unknown = of_host(&machine(Some("runner"), false, ""), None);
        assert_eq!(Some(said("something else")), unknown);
        let root = machine(None, false, "");
        assert_eq!(of_host(&root, Some(NO_FIREWALL)), of_host(&root, None));
    }

    #[test]
    fn the_boot_script_says_these_lines() {
        let attempt_id = make::attempt_id(7, 1);
        let mut attempt = make::attempt(&attempt_id, "linux", 1, make::at(3_600));
        attempt.placements[0].machine = machine(Some("runner"), false, "");
        let script = tinqs_ci_boot::script(&attempt_id, 0, &attempt);
        for line in [CLOSED, NO_FIREWALL, IN_DOCKER, HAS_SUDO, NOT_FENCED] {
            assert!(script.contains(line), "{line}");
        }
    }
}
