//! The AWS adapters: runs in `DynamoDB`, wake-ups in SQS, machines in EC2. What decides knows
//! nothing of them.

mod batch;
pub mod client;
pub mod doctor;
pub mod ec2;
pub mod errors;
pub mod events;
pub mod pace;
pub mod queue;
pub mod setup;
pub mod store;
