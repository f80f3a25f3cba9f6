//! The image that a class names: an ID, or a parameter that holds one.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use crate::errors::again;
use crate::ssm::Parameters;

/// The prefix of a parameter's name.
const PARAMETER: &str = "ssm:";
/// A parameter is read again after this time.
const READ_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// The images that parameters held when they were last read.
#[derive(Default)]
pub(crate) struct Images(Mutex<HashMap<String, Held>>);

struct Held {
    image: Result<String, PortError>,
    read_at: Timestamp,
}

/// Whether an image is named by a parameter.
pub(super) fn is_parameter(image: &str) -> bool {
    image.starts_with(PARAMETER)
}

impl Images {
    /// Returns the image that `named` stands for. A parameter that cannot be read now stands for the
    /// image that it held last.
    ///
    /// # Errors
    /// Of reading the parameter; `Invalid` if it holds no image ID.
    pub(crate) async fn of(
        &self,
        parameters: &Parameters,
        named: &str,
        now: Timestamp,
    ) -> Result<String, PortError> {
        let Some(parameter) = named.strip_prefix(PARAMETER) else { return Ok(named.to_owned()) };
        let last = {
            let held = self.0.lock();
            let held = held.get(parameter).map(|held| (copied(&held.image), held.read_at));
            match held {
                Some((image, read_at)) if now.duration_since(read_at) < READ_EVERY => return image,
                held => held.and_then(|(image, _)| image.ok()),
            }
        };
        let read = parameters.get(parameter).await.and_then(|value| id(parameter, &value));
        let image = match (read, last) {
            (Err(error), Some(last)) if is_passing(error.kind) => {
                tracing::warn!(error = %error, image = last, "kept the last image of a parameter");
                Ok(last)
            }
            // Asked again at the next call.
            (Err(error), None) if is_passing(error.kind) => return Err(error),
            (read, _) => read,
        };
        let held = Held { image: copied(&image), read_at: now };
        self.0.lock().insert(parameter.to_owned(), held);
        image
    }
}

fn copied(image: &Result<String, PortError>) -> Result<String, PortError> {
    image.as_ref().cloned().map_err(again)
}

/// Whether nobody has to act.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::Throttled)
}

/// Returns the value if it is an image ID. A value is never part of a message: it may be a secret.
fn id(parameter: &str, value: &str) -> Result<String, PortError> {
    let value = value.trim();
    let rest = value.strip_prefix("ami-").unwrap_or_default();
    if !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        return Ok(value.to_owned());
    }
    let message = format!(
        "parameter {parameter}: does not hold an image ID such as \"ami-0123456789abcdef0\": store \
         one in it, or set another `image` (RUNNER_AMI)"
    );
    Err(PortError::new("compute", "image", ErrorKind::Invalid, message))
}
