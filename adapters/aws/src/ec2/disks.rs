//! The disks of a launch, taken from its image.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_ec2::types::{BlockDeviceMapping, DeviceType, EbsBlockDevice, Image, VolumeType};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::DiskEncryption::{DefaultKey, Key, NotAsked};
use tinqs_ci_reconciler::model::{MachineOptions, MachineSpec};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::calls::Calls;

/// The time for which a failure to describe an image is cached.
const UNKNOWN_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Caches the disks of images. They never change, so each image is described once.
#[derive(Default)]
pub(super) struct Disks(Mutex<HashMap<String, CachedDisks>>);

#[derive(Clone)]
struct CachedDisks {
    /// `None`: the image cannot be described.
    disks: Option<Arc<[ImageDisk]>>,
    /// Described again after this time.
    until: Option<Timestamp>,
}

/// An EBS disk of an image.
#[derive(Clone, Debug)]
struct ImageDisk {
    /// `/dev/xvda`.
    device: String,
    gib: Option<i32>,
    /// Whether the machine boots from it.
    is_root: bool,
}

impl Disks {
    /// Returns the disks of a launch of this machine, as by [`disks`]. Empty if the image cannot be
    /// described: the image's own settings apply then, and the launch reports a missing image.
    ///
    /// # Errors
    /// `Unavailable`, `Throttled`: EC2 cannot be asked about the image now. `Invalid`: it cannot be
    /// described, and options of its disks are set. Nothing was launched.
    pub(super) async fn of(
        &self,
        calls: &Calls,
        machine: &MachineSpec,
        now: Timestamp,
    ) -> Result<Vec<BlockDeviceMapping>, PortError> {
        let MachineSpec { image, options, .. } = machine;
        let disks = self.described(calls, image, now).await?;
        let is_asked = options.has_disk() || matches!(options.disk_encryption, Key(_));
        match disks {
            Some(disks) => Ok(mappings(&disks, options)),
            None if is_asked => {
                let message = format!(
                    "the disks of image {image} are not known, so `disk_…` cannot be applied: allow \
                     ec2:DescribeImages to this role, and check the class's `image`"
                );
                Err(PortError::new("compute", "launch", ErrorKind::Invalid, message))
            }
            None => Ok(Vec::new()),
        }
    }

    async fn described(
        &self,
        calls: &Calls,
        image: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<[ImageDisk]>>, PortError> {
        let known = || self.0.lock();
        let cached = known().get(image).cloned();
        if let Some(CachedDisks { disks, until }) = cached
            && until.is_none_or(|until| now < until)
        {
            return Ok(disks);
        }
        let unknown = CachedDisks { disks: None, until: Some(now + UNKNOWN_FOR) };
        let cached = match calls.image(image).await {
            Ok(Some(image)) => CachedDisks { disks: Some(of_image(&image).into()), until: None },
            Ok(None) => unknown,
            Err(error) => match error.kind {
                ErrorKind::Denied | ErrorKind::Invalid => {
                    tracing::warn!(
                        image,
                        error = %error,
                        hint = "allow ec2:DescribeImages to this role, and check the class's `image`",
                        "cannot describe image, disks of machines may be unencrypted",
                    );
                    unknown
                }
                ErrorKind::Conflict
                | ErrorKind::Unavailable
                | ErrorKind::Throttled
                | ErrorKind::NoCapacity
                | ErrorKind::Limit => return Err(error),
            },
        };
        let disks = cached.disks.clone();
        known().insert(image.to_owned(), cached);
        Ok(disks)
    }
}

/// Each EBS disk of an image. Includes the root disk even if an emulator lists none.
fn of_image(image: &Image) -> Vec<ImageDisk> {
    let root = image.root_device_name();
    let disk = |device: &str, gib| ImageDisk {
        device: device.to_owned(),
        gib,
        is_root: root == Some(device),
    };
    let mapped = image.block_device_mappings().iter();
    let mut disks: Vec<ImageDisk> = mapped
        .filter_map(|mapping| Some(disk(mapping.device_name()?, mapping.ebs()?.volume_size())))
        .collect();
    if disks.is_empty() && image.root_device_type() == Some(&DeviceType::Ebs) {
        disks.extend(root.map(|name| disk(name, None)));
    }
    disks
}

/// Returns the disks of a launch from this image: deleted with the machine, encrypted unless the
/// options say otherwise, the root disk a gp3 volume of the size and speed that they say, and the
/// others as in the image.
pub(super) fn disks(image: &Image, options: &MachineOptions) -> Vec<BlockDeviceMapping> {
    mappings(&of_image(image), options)
}

fn mappings(disks: &[ImageDisk], options: &MachineOptions) -> Vec<BlockDeviceMapping> {
    let number = |option: Option<u32>| option.and_then(|number| i32::try_from(number).ok());
    let encrypted = (options.disk_encryption != NotAsked).then_some(true);
    let key = match &options.disk_encryption {
        Key(arn) => Some(arn.clone()),
        DefaultKey | NotAsked => None,
    };
    let mapping = |disk: &ImageDisk| {
        let root = Some(options).filter(|_| disk.is_root);
        let gib = root.and_then(|options| number(options.disk_gib));
        // AWS takes the size from the image; emulators need it in the request.
        let ebs = EbsBlockDevice::builder()
            .set_encrypted(encrypted)
            .set_kms_key_id(key.clone())
            .delete_on_termination(true)
            .set_volume_size(gib.or(disk.gib))
            .set_volume_type(root.map(|_| VolumeType::Gp3))
            .set_iops(root.and_then(|options| number(options.disk_iops)))
            .set_throughput(root.and_then(|options| number(options.disk_throughput)))
            .build();
        BlockDeviceMapping::builder().device_name(&disk.device).ebs(ebs).build()
    };
    disks.iter().map(mapping).collect()
}
