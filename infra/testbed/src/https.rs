//! A server with TLS, for what asks others.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::node::write_certificates;

/// A server on a port of its own, under a certificate authority of its own. It ends with this value.
#[derive(Debug)]
pub struct HttpsServer {
    address: SocketAddr,
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    server: AbortHandle,
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, Option<Response<Full<Bytes>>>>,
    connections: usize,
    requests: Vec<String>,
}

impl HttpsServer {
    /// Starts one that can prove to be the host of this name, and answers 404.
    pub async fn start(name: &str) -> HttpsServer {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_certificates(folder.path(), &[name]);
        let chain = CertificateDer::from_pem_file(folder.path().join("server.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(folder.path().join("server.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a key for its certificate");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::<Mutex<State>>::default();
        let changed = Arc::<Notify>::default();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let server = tokio::spawn(serve(listener, acceptor, state.clone(), changed.clone())).abort_handle();
        HttpsServer { address, folder, state, changed, server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate authority to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Answers a target from now on with this.
    pub fn put(&self, target: &str, answer: Response<Full<Bytes>>) {
        self.state().answers.insert(target.to_owned(), Some(answer));
        self.changed.notify_waiters();
    }

    /// Answers a target no more, until there is an answer to it.
    pub fn stall(&self, target: &str) {
        self.state().answers.insert(target.to_owned(), None);
    }

    /// How many have connected, whatever they wanted.
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// What was asked: method, host and target.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>, changed: Arc<Notify>) {
    while let Ok((stream, _)) = listener.accept().await {
        state.lock().expect("nobody panics with it").connections += 1;
        tokio::spawn(serve_connection(stream, acceptor.clone(), state.clone(), changed.clone()));
    }
}

async fn serve_connection(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<Mutex<State>>, changed: Arc<Notify>) {
    // Whoever does not trust the certificate goes away.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let answer = service_fn(move |request: Request<Incoming>| {
        let (state, changed) = (state.clone(), changed.clone());
        async move { Ok::<_, Infallible>(answer(&state, &changed, &request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    // The other side may end it as it likes.
    drop(served);
}

async fn answer(state: &Mutex<State>, changed: &Notify, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let target = request.uri().to_string();
    let host = request.headers().get("host").map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let line = format!("{} {} {target}", request.method(), host.unwrap_or_default());
    state.lock().expect("nobody panics with it").requests.push(line);
    loop {
        let mut next = std::pin::pin!(changed.notified());
        next.as_mut().enable();
        let found = state.lock().expect("nobody panics with it").answers.get(&target).cloned();
        match found {
            Some(Some(answer)) => return answer,
            Some(None) => next.await,
            None => {
                let mut unknown = Response::new(Full::default());
                *unknown.status_mut() = hyper::StatusCode::NOT_FOUND;
                return unknown;
            }
        }
    }
}
