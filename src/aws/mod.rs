//! The AWS adapters: machines in EC2, wake-ups in SQS. What decides knows nothing of them.

mod batch;
pub mod ec2;
pub mod errors;
pub mod events;
pub mod pace;
pub mod queue;
