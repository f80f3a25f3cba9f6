//! The AWS adapters: `DynamoDB`, SQS, EC2.

pub mod client;
pub mod errors;
pub mod store;
