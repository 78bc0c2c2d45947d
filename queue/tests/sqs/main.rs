//! SQS: what is published lies there as it was, and every failure is told for what it is. Against moto, an emulator.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

mod admin;
mod faults;
mod wire;

use std::time::Duration;

use tokio::time::Instant;
use webhook_queue::{AwsCredentials, Publisher, QueueConfig, QueueUrl};

fn config(url: &str) -> QueueConfig {
    let mut config = QueueConfig::new(QueueUrl::parse(url).unwrap());
    config.aws_credentials = Some(AwsCredentials {
        access_key_id: "test".to_owned(),
        secret_access_key: "test".to_owned().into(),
        session_token: Some("test".to_owned().into()),
    });
    config
}

fn publisher(url: &str) -> Publisher {
    Publisher::open(&config(url)).unwrap()
}

/// Long enough for a busy machine, short enough to fail a hanging test.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}
