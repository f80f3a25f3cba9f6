//! The disks of a launch, taken from its image.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_ec2::types::{BlockDeviceMapping, DeviceType, EbsBlockDevice, Image, VolumeType};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::calls::Calls;

/// The time for which a failure to describe an image is cached.
const UNKNOWN_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Caches the disks of images. They never change, so each image is described once.
#[derive(Default)]
pub(super) struct Disks(Mutex<HashMap<String, CachedDisks>>);

#[derive(Clone)]
struct CachedDisks {
    disks: Arc<[BlockDeviceMapping]>,
    /// Described again after this time.
    until: Option<Timestamp>,
}

impl Disks {
    /// Returns the disks of a launch from this image: encrypted, deleted with the machine, the root
    /// disk a gp3 volume. Empty if the image cannot be described: the image's own settings apply
    /// then, and the launch reports a missing image.
    ///
    /// # Errors
    /// `Unavailable`, `Throttled`: EC2 cannot be asked about the image now. Nothing was launched.
    pub(super) async fn of(
        &self,
        calls: &Calls,
        image: &str,
        now: Timestamp,
    ) -> Result<Arc<[BlockDeviceMapping]>, PortError> {
        let known = || self.0.lock();
        let cached = known().get(image).cloned();
        if let Some(CachedDisks { disks, until }) = cached
            && until.is_none_or(|until| now < until)
        {
            return Ok(disks);
        }
        let cached = match calls.image(image).await {
            Ok(Some(image)) => CachedDisks { disks: disks(&image).into(), until: None },
            Ok(None) => CachedDisks { disks: [].into(), until: Some(now + UNKNOWN_FOR) },
            Err(error) => match error.kind {
                ErrorKind::Denied | ErrorKind::Invalid => {
                    tracing::warn!(
                        image,
                        error = %error,
                        hint = "allow ec2:DescribeImages to this role, and check the class's `image`",
                        "cannot describe image, disks of machines may be unencrypted",
                    );
                    CachedDisks { disks: [].into(), until: Some(now + UNKNOWN_FOR) }
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

/// Each EBS disk of an image in its own size: encrypted, deleted with the machine. Includes the
/// root disk even if an emulator lists none.
pub(super) fn disks(image: &Image) -> Vec<BlockDeviceMapping> {
    let mapped = image.block_device_mappings().iter();
    let mut named: Vec<(&str, Option<i32>)> = mapped
        .filter_map(|mapping| Some((mapping.device_name()?, mapping.ebs()?.volume_size())))
        .collect();
    if named.is_empty() && image.root_device_type() == Some(&DeviceType::Ebs) {
        named.extend(image.root_device_name().map(|name| (name, None)));
    }
    let mut disks = Vec::new();
    for (name, size) in named {
        let first = image.root_device_name() == Some(name);
        // AWS takes the size from the image; emulators need it in the request.
        let disk = EbsBlockDevice::builder()
            .encrypted(true)
            .delete_on_termination(true)
            .set_volume_size(size)
            .set_volume_type(first.then_some(VolumeType::Gp3))
            .build();
        disks.push(BlockDeviceMapping::builder().device_name(name).ebs(disk).build());
    }
    disks
}
