//! What stands for the check of Amazon SNS in a program that is built without it. There is none of it.

use http::HeaderMap;
use tokio::time::Instant;
use webhook_queue::BoxError;

use crate::answer::Refusal;

#[derive(Clone, Debug)]
pub(super) enum TopicCheck {}

impl TopicCheck {
    pub(super) fn new(_: &str) -> Result<Option<TopicCheck>, BoxError> {
        Err("the scheme sns is not part of this program: build it with the cargo feature sns".into())
    }

    pub(super) fn claim(&self, _: &HeaderMap) -> Result<(), Refusal> {
        match *self {}
    }

    pub(super) async fn verify(&self, _: &[u8], _: Instant) -> Result<(), Refusal> {
        match *self {}
    }
}
