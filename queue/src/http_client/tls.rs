//! The one TLS configuration: rustls on ring.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};

use crate::BoxError;

/// Trusts the certificates of `ca_file`, or else the public authorities.
pub fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, BoxError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(|error| format!("{}: {error}", path.display()))?
            {
                roots.add(certificate?)?;
            }
            if roots.is_empty() {
                return Err(format!("{} holds no certificate", path.display()).into());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
