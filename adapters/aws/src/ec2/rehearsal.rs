//! Dry-run launches: EC2 says whether it would accept a launch, and launches nothing.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Image, Instance};
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Boot, Class, MachineSpec, Placement, RunName, Runner, Secret, Uid8,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::disks::disks;
use super::request::Ask;
use crate::errors::{self, ec2 as codes};

/// As long as a forge's token, but not valid.
const NO_TOKEN: &str = "0000000000000000000000000000000000000000";

/// Sends the launch that an attempt of the class would send, with `DryRun`: the same tags, disks,
/// profile and metadata options, and a boot script of the same size without any identity.
///
/// # Errors
/// The reason why EC2 would refuse it.
pub async fn rehearse(
    client: &Client,
    installation: &str,
    class: &Class,
    machine: &MachineSpec,
    image: Option<&Image>,
) -> Result<(), PortError> {
    let attempt_id =
        AttemptId { run: RunName::job(0), uid: Uid8("00000000".to_owned()), number: 0 };
    let attempt = attempt(class, machine, &attempt_id, Timestamp::now());
    let ask = Ask::new(installation, &attempt_id, 0, &attempt)?;
    let disks = image.map(|image| disks(image, &machine.options)).unwrap_or_default();
    match ask.request(&disks).dry_run(true).send_with(client).await {
        Err(error) if errors::code(&error) == Some(codes::DRY_RUN) => Ok(()),
        Err(error) => Err(errors::port_error("compute", "rehearse", &error, codes::TABLE)),
        Ok(made) => Err(carried_out(client, made.instances()).await),
    }
}

/// Checks that the user data of the class's machines is small enough for EC2, with the URL of the
/// forge and the git token that they get. Nothing is asked.
///
/// # Errors
/// `Invalid`: it is too large, or something that a launch needs is missing. The message names the
/// size of each part.
pub fn check_user_data(
    installation: &str,
    class: &Class,
    instance_url: &str,
    git_token: Option<&Secret>,
) -> Result<(), PortError> {
    // As long as the ID of an attempt may be.
    let attempt_id = AttemptId {
        run: RunName::job(i64::MAX),
        uid: Uid8("00000000".to_owned()),
        number: u32::MAX,
    };
    for machine in &class.machines {
        let mut attempt = attempt(class, machine, &attempt_id, Timestamp::now());
        instance_url.clone_into(&mut attempt.boot.instance_url);
        attempt.boot.git_token = git_token.cloned();
        Ask::new(installation, &attempt_id, 0, &attempt)?;
    }
    Ok(())
}

/// An emulator without dry runs has launched a machine; it is terminated again.
async fn carried_out(client: &Client, made: &[Instance]) -> PortError {
    let ids: Vec<String> = made.iter().filter_map(|i| i.instance_id().map(str::to_owned)).collect();
    let names = ids.join(", ");
    let ended = client.terminate_instances().set_instance_ids(Some(ids)).send().await;
    let then = match ended {
        Ok(_) => "terminated again".to_owned(),
        Err(error) => {
            let error = errors::port_error("compute", "rehearse", &error, codes::TABLE);
            format!("left to end at its deadline in ten minutes ({error})")
        }
    };
    let message = format!(
        "a dry-run launch was carried out: this endpoint ignores DryRun, so it is not EC2; {names} \
         was {then}; check AWS_ENDPOINT_URL",
    );
    PortError::new("compute", "rehearse", ErrorKind::Invalid, message)
}

fn attempt(
    class: &Class,
    machine: &MachineSpec,
    attempt_id: &AttemptId,
    now: Timestamp,
) -> Attempt {
    let placement = Placement::new(machine.clone());
    // A machine that is launched nevertheless ends soon.
    let soon = SignedDuration::from_mins(10);
    Attempt {
        number: attempt_id.number,
        decided_at: now,
        class: class.name.clone(),
        runner: Runner {
            repo_id: 0,
            id: 0,
            uuid: "00000000-0000-0000-0000-000000000000".to_owned(),
            name: attempt_id.to_string(),
            labels: class.labels.clone(),
            token: Secret::new(NO_TOKEN),
        },
        boot: Boot {
            deadline: now.checked_add(soon).unwrap_or(now),
            idle_within: class.times.idle_within.min(soon),
            start_by: now.checked_add(soon).ok(),
            hold: class.times.hold,
            instance_url: "https://git.invalid".to_owned(),
            git_token: None,
        },
        placements: vec![placement],
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    }
}
