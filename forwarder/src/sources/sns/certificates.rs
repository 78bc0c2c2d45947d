//! The keys of SNS's certificates, fetched when they are first needed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::Full;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ParsedCertificate;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use webhook_queue::BoxError;
use webhook_queue::http_client::Connections;

use super::region::Region;

/// SNS has one at a time, and another when it rotates them.
pub(super) const MOST_KEPT: usize = 4;
/// Who invents names of certificates must not make us fetch many at a time.
pub(super) const MOST_FETCHING: usize = 4;
/// Of one that outlives the request that needed it: the next will need it, too.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// What stands before the length of an RSA key, in a public key by DER: the algorithm, without parameters.
const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// An RSA public key as PKCS #1 has it.
pub(super) type Key = Arc<[u8]>;

/// The certificates of one region.
pub(super) struct Certificates {
    region: Arc<Region>,
    connections: Connections,
    /// By path; the newest is at the end.
    kept: Mutex<VecDeque<(String, Key)>>,
    fetching: Arc<Semaphore>,
}

impl Certificates {
    pub(super) fn new(region: Arc<Region>, connections: Connections) -> Certificates {
        let fetching = Arc::new(Semaphore::new(MOST_FETCHING));
        Certificates { region, connections, kept: Mutex::default(), fetching }
    }

    /// The key of the certificate at this path.
    pub(super) async fn key(self: &Arc<Self>, path: &str, deadline: Instant) -> Result<Key, BoxError> {
        if let Some(key) = self.kept(path) {
            return Ok(key);
        }
        let fetched = async {
            let turn = self.fetching.clone().acquire_owned().await?;
            if let Some(key) = self.kept(path) {
                return Ok(key);
            }
            let (certificates, path) = (self.clone(), path.to_owned());
            let fetching = async move {
                let _turn = turn;
                certificates.fetch(path).await
            };
            tokio::spawn(fetching).await?
        };
        timeout_at(deadline, fetched).await.unwrap_or_else(|_| Err(self.too_slow()))
    }

    /// What the region's host answers.
    pub(super) async fn get(&self, target: &str, deadline: Instant) -> Result<Bytes, BoxError> {
        let request = Request::get(target).header(HOST, self.region.host()).body(Full::<Bytes>::default())?;
        let exchange = self.connections.exchange(&request, FETCH_TIMEOUT);
        match timeout_at(deadline, exchange).await {
            Ok(Ok((StatusCode::OK, answer))) => Ok(answer),
            Ok(Ok((status, _))) => Err(format!("{} answers {status}", self.region.host()).into()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.too_slow()),
        }
    }

    async fn fetch(&self, path: String) -> Result<Key, BoxError> {
        let pem = self.get(&path, Instant::now() + FETCH_TIMEOUT).await?;
        self.keep(path, &pem)
    }

    /// The key of this certificate, which is known from here on.
    pub(super) fn keep(&self, path: String, pem: &[u8]) -> Result<Key, BoxError> {
        let key = rsa_key(pem).ok_or_else(|| format!("{} has no RSA certificate there", self.region.host()))?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(other, _)| *other != path);
        if kept.len() == MOST_KEPT {
            kept.pop_front();
        }
        kept.push_back((path, key.clone()));
        Ok(key)
    }

    pub(super) fn kept(&self, path: &str) -> Option<Key> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(other, _)| other == path).map(|(_, key)| key.clone())
    }

    fn too_slow(&self) -> BoxError {
        format!("{} does not answer in time", self.region.host()).into()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("region", &self.region).finish_non_exhaustive()
    }
}

/// The key of a certificate in PEM.
fn rsa_key(pem: &[u8]) -> Option<Key> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    let public_key = ParsedCertificate::try_from(&certificate).ok()?.subject_public_key_info();
    // A sequence of the algorithm and a string of bits, none of them unused, whose lengths take two bytes each.
    let [0x30, 0x82, _, _, rest @ ..] = public_key.as_ref() else { return None };
    let [0x03, 0x82, _, _, 0, key @ ..] = rest.strip_prefix(&RSA)? else { return None };
    Some(key.into())
}
