//! Messages of Amazon SNS: signed by a certificate that they name, and that its servers have.
//!
//! What proves a message is that the certificate was served, over TLS, by the host of the topic's region, as Amazon's own
//! library for Java has it. The certificate's own chain proves nothing more, and cannot be built: it is served alone.

mod certificates;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod message;
mod region;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};
use tokio::time::Instant;
use webhook_queue::BoxError;
use webhook_queue::http_client::{Connections, client_config};

use crate::answer::Refusal;
use certificates::Certificates;
use message::{Kind, Message};
use region::Region;

const HTTPS: u16 = 443;

const RAW: Refusal = Refusal::NotProven("raw messages have no signature: turn raw message delivery off");
const NO_MESSAGE: Refusal = Refusal::NotProven("the body is not a message of Amazon SNS with a signature");
const OTHER_TOPIC: Refusal = Refusal::NotProven("the message is of another topic");
const OTHER_HOST: Refusal =
    Refusal::NotProven("the message names a certificate, or a URL, that is not on the host of the topic's region");
const WRONG: Refusal = Refusal::NotProven("the signature is wrong, or the message was changed on its way");

/// How the messages of one topic are checked.
#[derive(Clone, Debug)]
pub(super) struct TopicCheck {
    topic: Arc<str>,
    region: Arc<Region>,
    certificates: Arc<Certificates>,
}

impl TopicCheck {
    /// For the topic with this ARN; `None` if it is none.
    pub(super) fn new(topic: &str) -> Result<Option<TopicCheck>, BoxError> {
        let tls = client_config(None)?;
        TopicCheck::connected(topic, |host| Connections::new(host, HTTPS, Some(tls), 0))
    }

    /// As [`TopicCheck::new`], with connections to the host of the topic's region.
    pub(super) fn connected(
        topic: &str,
        connect: impl FnOnce(&str) -> Result<Connections, BoxError>,
    ) -> Result<Option<TopicCheck>, BoxError> {
        let Some(region) = Region::of(topic).map(Arc::new) else { return Ok(None) };
        let certificates = Arc::new(Certificates::new(region.clone(), connect(region.host())?));
        Ok(Some(TopicCheck { topic: topic.into(), region, certificates }))
    }

    /// Refuses what no body could make good.
    pub(super) fn claim(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let raw = headers.get("x-amz-sns-rawdelivery").is_some_and(|raw| raw.as_bytes() == b"true");
        if raw { Err(RAW) } else { Ok(()) }
    }

    /// Whether the body is a signed message of the topic. The one that asks whether the topic may send is answered: here
    /// that takes a request of our own.
    ///
    /// Whatever can be told from the message alone is, before anything is fetched for it.
    pub(super) async fn verify(&self, body: &[u8], deadline: Instant) -> Result<(), Refusal> {
        let message = Message::read(body).ok_or(NO_MESSAGE)?;
        let (kind, text) = message.signed_text().ok_or(NO_MESSAGE)?;
        let algorithm = algorithm(&message.signature_version).ok_or(NO_MESSAGE)?;
        let signature = STANDARD.decode(&*message.signature).map_err(|_| NO_MESSAGE)?;
        if *message.topic_arn != *self.topic {
            return Err(OTHER_TOPIC);
        }
        let certificate = self.region.certificate(&message.signing_cert_url).ok_or(OTHER_HOST)?;
        let confirmation = match &message.subscribe_url {
            Some(url) if kind == Kind::Subscription => {
                Some(self.region.confirmation(url, &self.topic).ok_or(OTHER_HOST)?)
            }
            _ => None,
        };

        // The other half is for the queue.
        let half = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        let key = self.certificates.key(certificate, half).await.map_err(Refusal::ProviderAway)?;
        UnparsedPublicKey::new(algorithm, &*key).verify(text.as_bytes(), &signature).map_err(|_| WRONG)?;

        if let Some(target) = confirmation {
            self.certificates.get(target, deadline).await.map_err(Refusal::ProviderAway)?;
            tracing::info!(topic = &*self.topic, "the subscription to {} is confirmed", self.topic);
        }
        if kind == Kind::Unsubscription {
            tracing::warn!(
                topic = &*self.topic,
                "the subscription to {} was ended: nothing more will come from it; subscribe again if that was not meant",
                self.topic
            );
        }
        Ok(())
    }
}

fn algorithm(version: &str) -> Option<&'static RsaParameters> {
    match version {
        "1" => Some(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
        "2" => Some(&RSA_PKCS1_2048_8192_SHA256),
        _ => None,
    }
}
