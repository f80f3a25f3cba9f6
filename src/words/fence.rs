//! As whom the jobs of a machine in the cloud run, and what keeps them from the instance metadata
//! service, in words.

use tinqs_ci_reconciler::model::MachineSpec;
use tinqs_ci_reconciler::text::cut;

/// What the boot script says of that service, after which it names the user.
const CLOSED: &str = "the instance metadata service is closed to ";
/// What it says where no firewall works.
const NO_FIREWALL: &str = "neither nft nor iptables works here: ";
/// What it says if the user is in the group `docker`, by its class or by the image.
const IN_DOCKER: &str = " is in the group docker: a job can become root, nothing is fenced";

/// The most columns of a user's or a role's name.
const NAME: usize = 100;

/// Says as whom the job of this machine runs, and whether it can reach the instance metadata
/// service, by what the class said when it was asked for and by what the machine has printed. `None`
/// for a machine without a subnet: a process is on a host that tinqs-ci does not know.
pub fn sentence(machine: &MachineSpec, printed: Option<&str>) -> Option<String> {
    if machine.subnet.is_empty() {
        return None;
    }
    let setup = machine.runner.as_deref();
    let has_printed = |text: &str| printed.is_some_and(|printed| printed.contains(text));
    let role = (!machine.instance_profile.is_empty())
        .then(|| format!("has the role {} by intent", cut(&machine.instance_profile, NAME)));
    let Some(user) = setup.and_then(|setup| setup.user.as_deref()) else {
        let role = role.unwrap_or_else(|| "can reach the instance metadata service".to_owned());
        return Some(format!("the job runs as root and {role}"));
    };
    let job = format!("the job runs as the user {}", cut(user, NAME));
    if setup.is_some_and(|setup| setup.docker) || has_printed(IN_DOCKER) {
        let role = role.map(|role| format!("; it {role}")).unwrap_or_default();
        return Some(format!(
            "{job}, in the group docker: it can become root, nothing is fenced{role}"
        ));
    }
    Some(match role {
        Some(role) => format!("{job} and {role}: the instance metadata service is open to it"),
        None if has_printed(NO_FIREWALL) => format!(
            "{job}, and is not fenced: neither nft nor iptables works on the machine, so the \
             instance metadata service is open to it"
        ),
        None if has_printed(CLOSED) => {
            format!("{job}; the instance metadata service is closed to it")
        }
        None => format!(
            "{job}; the instance metadata service is closed to it if the machine has nft or \
             iptables"
        ),
    })
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::RunnerSetup;
    use tinqs_ci_testing::make;

    use super::*;

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
                "the user runner; the instance metadata service is closed to it if the machine \
                 has nft or iptables",
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
            assert_eq!(sentence(&machine, None), Some(expected));
        }
        let bare = MachineSpec { runner: None, ..machine(None, false, "") };
        assert_eq!(sentence(&bare, None), sentence(&machine(None, false, ""), None));
        assert_eq!(sentence(&make::process(), None), None);
    }

    #[test]
    fn what_the_machine_printed_is_heeded() {
        let said = |line: &str| {
            let printed = format!("cloud-init[7]: tinqs-ci: +9.9s {line}\ntinqs-ci: +11s bye");
            sentence(&machine(Some("runner"), false, ""), Some(&printed)).expect("a sentence")
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
        let unknown = sentence(&machine(Some("runner"), false, ""), None);
        assert_eq!(Some(said("something else")), unknown);
        let root = machine(None, false, "");
        assert_eq!(sentence(&root, Some(NO_FIREWALL)), sentence(&root, None));
    }

    #[test]
    fn the_boot_script_says_these_lines() {
        let attempt_id = make::attempt_id(7, 1);
        let mut attempt = make::attempt(&attempt_id, "linux", 1, make::at(3_600));
        attempt.placements[0].machine = machine(Some("runner"), false, "");
        let script = tinqs_ci_boot::script(&attempt_id, 0, &attempt);
        for line in [CLOSED, NO_FIREWALL, IN_DOCKER] {
            assert!(script.contains(line), "{line}");
        }
    }
}
