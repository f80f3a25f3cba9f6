//! What `doctor` looks at in a cloud.

use super::Check;
use crate::aws;
use crate::settings::Settings;

pub(super) async fn checks(settings: &Settings) -> Vec<Check> {
    Box::pin(aws::doctor::checks(settings)).await
}
