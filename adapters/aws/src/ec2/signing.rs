//! Launches are signed soon after they are decided, or not at all.
//!
//! EC2 takes a request for 15 minutes after its signature. The decision waits six minutes for a
//! machine of a launch that is not answered. A process that was suspended in between would sign its
//! request when it goes on, hours later.

use std::fmt;
use std::sync::Arc;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::ports::{Clock, ErrorKind, PortError};

/// The longest time from a launch that is asked for to its signature: it may wait for its turn, for
/// a template, for the disks of an image and for credentials.
const SIGNED_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// Returns this client with a limit: a request that is not signed in time is not sent.
pub(super) fn soon(client: &Client, clock: Arc<dyn Clock>) -> Client {
    let config = client.config().to_builder().interceptor(SignedSoon(clock));
    Client::from_conf(config.build())
}

/// Returns an error if a launch was asked for too long ago. To be called last before it is sent.
pub(super) fn in_time(asked_at: Timestamp, clock: &dyn Clock) -> Result<(), PortError> {
    late(asked_at, clock.now()).map_or(Ok(()), |message| {
        Err(PortError::new("compute", "launch", ErrorKind::Unavailable, message))
    })
}

/// Returns what is wrong if it is too late for a signature.
fn late(asked_at: Timestamp, now: Timestamp) -> Option<String> {
    let ago = now.duration_since(asked_at);
    (ago > SIGNED_WITHIN).then(|| {
        format!(
            "not sent: it was asked for {} s ago, and is signed within {} s; the process was \
             suspended, or its clock was set; the launch is tried again",
            ago.as_secs(),
            SIGNED_WITHIN.as_secs()
        )
    })
}

/// The time when the SDK began with a request.
#[derive(Debug)]
struct BeganAt(Timestamp);

impl Storable for BeganAt {
    type Storer = StoreReplace<Self>;
}

/// Compares the time of the signature with that of the request.
struct SignedSoon(Arc<dyn Clock>);

impl fmt::Debug for SignedSoon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedSoon")
    }
}

impl Intercept for SignedSoon {
    fn name(&self) -> &'static str {
        "SignedSoon"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(BeganAt(self.0.now()));
        Ok(())
    }

    fn read_before_signing(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let began_at = config.load::<BeganAt>().map(|BeganAt(at)| *at);
        match began_at.and_then(|at| late(at, self.0.now())) {
            Some(message) => Err(message.into()),
            None => Ok(()),
        }
    }
}
