//! The place of the AWS adapters: `DynamoDB`, SQS, EC2. Not here yet; `config` says so.
