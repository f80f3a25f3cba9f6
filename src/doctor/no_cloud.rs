//! What stands for it in a build without a cloud. The configuration refuses what would be there before
//! this is reached.

use super::Check;
use crate::settings::Settings;

#[expect(clippy::unused_async, reason = "as the other")]
pub(super) async fn checks(_settings: &Settings) -> Vec<Check> {
    Vec::new()
}
