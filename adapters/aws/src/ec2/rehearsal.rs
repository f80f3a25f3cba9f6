//! A launch that is only tried: EC2 says whether it would be granted, and makes nothing.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Image, Instance};
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Attempt, Boot, Class, Machine, Placement, RunName, Runner, Secret, Slot, Uid8,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::disks::disks;
use super::request::Ask;
use crate::errors::{self, ec2 as codes};

/// As long as what a forge gives out, and good for nothing.
const NO_TOKEN: &str = "0000000000000000000000000000000000000000";

/// Asks for a machine as an attempt of its class would, with `DryRun`: the same tags, disks, profile
/// and metadata options, and a boot script of the same size without any identity.
///
/// # Errors
/// Why it would not be granted.
pub async fn rehearse(
    client: &Client,
    installation: &str,
    class: &Class,
    machine: &Machine,
    image: Option<&Image>,
) -> Result<(), PortError> {
    let slot = Slot { run: RunName::job(0), uid: Uid8("00000000".to_owned()), number: 0 };
    let attempt = attempt(class, machine, &slot, Timestamp::now());
    let ask = Ask::new(installation, &slot, 0, &attempt)?;
    let disks = image.map(disks).unwrap_or_default();
    match ask.request(&disks).dry_run(true).send_with(client).await {
        Err(error) if errors::code(&error) == Some(codes::DRY_RUN) => Ok(()),
        Err(error) => Err(errors::port_error("compute", "rehearse", &error, codes::TABLE)),
        Ok(made) => Err(carried_out(client, made.instances()).await),
    }
}

/// An emulator that knows no dry run has made a machine; it is ended again.
async fn carried_out(client: &Client, made: &[Instance]) -> PortError {
    let ids: Vec<String> = made.iter().filter_map(|i| i.instance_id().map(str::to_owned)).collect();
    let names = ids.join(", ");
    let ended = client.terminate_instances().set_instance_ids(Some(ids)).send().await;
    let then = match ended {
        Ok(_) => "ended again".to_owned(),
        Err(error) => {
            let error = errors::port_error("compute", "rehearse", &error, codes::TABLE);
            format!("left to its deadline in ten minutes ({error})")
        }
    };
    let message = format!(
        "a launch that was only to be tried was carried out: this endpoint knows no DryRun, so it is \
         not EC2; {names} was {then}",
    );
    PortError::new("compute", "rehearse", ErrorKind::Invalid, message)
}

fn attempt(class: &Class, machine: &Machine, slot: &Slot, now: Timestamp) -> Attempt {
    let placement =
        Placement { machine: machine.clone(), asked_again: false, answered: None, refused: None };
    // A machine that were made after all would end soon.
    let soon = SignedDuration::from_mins(10);
    Attempt {
        number: slot.number,
        decided_at: now,
        class: class.name.clone(),
        runner: Runner {
            id: 0,
            uuid: "00000000-0000-0000-0000-000000000000".to_owned(),
            name: slot.to_string(),
            labels: class.labels.clone(),
            token: Secret::new(NO_TOKEN),
        },
        boot: Boot {
            deadline: now.checked_add(soon).unwrap_or(now),
            idle_within: class.times.idle_within.min(soon),
            instance_url: "https://git.invalid".to_owned(),
            git_token: None,
        },
        placements: vec![placement],
        ended: None,
    }
}
