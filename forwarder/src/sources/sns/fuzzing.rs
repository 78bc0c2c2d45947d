//! A door for this repository's fuzzer (`infra/fuzz`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use webhook_queue::BoxError;
use webhook_queue::http_client::Connections;

use super::certificates::Certificates;
use super::{HTTPS, TopicCheck};

/// Everybody, to whom no TCP connection leads: the attempt ends before anything is sent.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::BROADCAST), HTTPS);

impl TopicCheck {
    /// Knows this certificate from here on, and reaches nobody.
    pub(in crate::sources) fn isolate(&mut self, path: &str, certificate: &[u8]) -> Result<(), BoxError> {
        let connections = Connections::new(self.region.host(), HTTPS, None, 0)?.at(NOBODY);
        let certificates = Certificates::new(self.region.clone(), connections);
        certificates.keep(path.to_owned(), certificate)?;
        self.certificates = Arc::new(certificates);
        Ok(())
    }
}
