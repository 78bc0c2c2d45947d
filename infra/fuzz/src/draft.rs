//! A request while it is being written.

use std::convert::Infallible;
use std::net::IpAddr;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use webhook_forwarder::Arrival;

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// What stands before a target that is one as a whole, and not only what is behind the source's own.
const WHOLE: char = '=';

#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) method: Method,
    /// What stands behind the source's own path, or after `=` a whole target.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Draft {
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.headers.retain(|(found, _)| found != name);
        self.headers.push((name.to_owned(), value.into()));
    }

    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &value[..])
    }

    /// Removes a header. What it held, if it can be sent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let value = self.header(name).filter(|value| !value.is_empty() && HeaderValue::from_bytes(value).is_ok());
        let value = value.map(<[u8]>::to_vec);
        self.headers.retain(|(found, _)| found != name);
        value
    }

    /// The same headers on a message of AMQP.
    pub(crate) fn foreign_headers(&self) -> Vec<(String, Bytes)> {
        let headers = self.headers.iter();
        headers
            .flat_map(|(name, value)| {
                let value = Bytes::copy_from_slice(value);
                [(name.clone(), value.clone()), (format!("cloudEvents:{name}"), value)]
            })
            .collect()
    }

    /// The target of the request to this source.
    pub(crate) fn uri(&self, source: &str) -> Option<Uri> {
        let target = match self.target.strip_prefix(WHOLE) {
            Some(whole) => whole.to_owned(),
            None => format!("/webhooks/{source}{}", self.target),
        };
        target.parse().ok()
    }

    /// Nothing where it is none that a host could hand over.
    pub(crate) fn request(&self, source: &str, client: Option<IpAddr>, chunk: Option<usize>) -> Option<Request<Body>> {
        let mut request = Request::new(self.body(chunk));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri(source)?;
        for (name, value) in &self.headers {
            let (name, value) = (HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_bytes(value).ok()?);
            request.headers_mut().try_append(name, value).ok()?;
        }
        request.extensions_mut().insert(Arrival::now(client));
        Some(request)
    }

    fn body(&self, chunk: Option<usize>) -> Body {
        let whole = Bytes::copy_from_slice(&self.body);
        let Some(chunk) = chunk else { return Full::new(whole).boxed_unsync() };
        let chunks: Vec<Bytes> = whole.chunks(chunk).map(|piece| whole.slice_ref(piece)).collect();
        StreamBody::new(stream::iter(chunks.into_iter().map(|piece| Ok(Frame::data(piece))))).boxed_unsync()
    }
}
