//! What the Functions host makes of a request before it hands it to a custom handler.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, EXPIRES,
    HOST, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, TRANSFER_ENCODING, USER_AGENT,
};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::http::BoxError;

const HOST_VERSION: &str = "4.1044.400.0";
/// The content headers that .NET refuses among the headers of a request, and so drops when it forwards one.
const CONTENT_HEADERS: [HeaderName; 7] =
    [ALLOW, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_RANGE, EXPIRES, LAST_MODIFIED];

/// A request as the proxy of the host passes it on: only its headers change.
pub(crate) fn proxied(request: Request<Incoming>, peer: SocketAddr) -> Result<Request<Incoming>, BoxError> {
    let (mut head, body) = request.into_parts();
    let target = head.uri.to_string();
    head.headers = folded(&head.headers)?;
    add_front_end(&mut head.headers, peer, &target)?;
    add_host(&mut head.headers)?;
    head.headers.remove(CONNECTION);
    head.headers.remove(TRANSFER_ENCODING);
    Ok(Request::from_parts(head, body))
}

/// A request as the host makes it anew: with a body only if that had a length, and with a query made of a dictionary.
pub(crate) async fn forwarded(
    request: Request<Incoming>,
    peer: SocketAddr,
    handler: SocketAddr,
) -> Result<Request<Bytes>, BoxError> {
    let (mut head, body) = request.into_parts();
    let target = head.uri.to_string();
    let query = refolded_query(head.uri.query().unwrap_or_default());
    head.uri = format!("{}{query}", head.uri.path()).parse()?;
    let has_length = head.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    let body = if has_length { body.collect().await?.to_bytes() } else { Bytes::new() };
    head.headers = folded(&head.headers)?;
    for name in CONTENT_HEADERS.into_iter().chain([CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH]) {
        head.headers.remove(name);
    }
    add_front_end(&mut head.headers, peer, &target)?;
    add_host(&mut head.headers)?;
    let agent = match head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()) {
        Some(agent) => format!("{agent} Azure-Functions-Host/{HOST_VERSION}"),
        None => format!("Azure-Functions-Host/{HOST_VERSION}"),
    };
    head.headers.insert(USER_AGENT, agent.parse()?);
    head.headers.insert(HOST, handler.to_string().parse()?);
    Ok(Request::from_parts(head, body))
}

/// The headers as .NET writes them: the values of one name in one line, ASCII only.
fn folded(headers: &HeaderMap) -> Result<HeaderMap, BoxError> {
    let mut folded = HeaderMap::new();
    for name in headers.keys() {
        let values: Result<Vec<&str>, _> = headers.get_all(name).iter().map(HeaderValue::to_str).collect();
        let values = values.map_err(|_| "Request headers must contain only ASCII characters.")?;
        folded.insert(name, values.join(", ").parse()?);
    }
    Ok(folded)
}

/// What the front end of App Service adds: the caller's address, and the target as it was sent.
fn add_front_end(headers: &mut HeaderMap, peer: SocketAddr, target: &str) -> Result<(), BoxError> {
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    let chain = match headers.get(&FORWARDED_FOR).and_then(|chain| chain.to_str().ok()) {
        Some(claimed) => format!("{claimed}, {peer}"),
        None => peer.to_string(),
    };
    headers.insert(FORWARDED_FOR, chain.parse()?);
    headers.insert("client-ip", peer.to_string().parse()?);
    headers.insert("x-original-url", target.parse()?);
    headers.insert("x-waws-unencoded-url", target.parse()?);
    headers.insert("x-site-deployment-id", HeaderValue::from_static("hooks"));
    Ok(())
}

/// What the host itself sets, whatever a caller claims.
fn add_host(headers: &mut HeaderMap) -> Result<(), BoxError> {
    let id: HeaderValue = uuid::Uuid::now_v7().to_string().parse()?;
    headers.insert("x-azure-functions-hostversion", HeaderValue::from_static(HOST_VERSION));
    headers.insert("x-azure-functions-invocationid", id.clone());
    headers.insert("x-ms-invocation-id", id);
    Ok(())
}

/// A query made of a dictionary: the values of one name joined with commas, everything encoded anew.
fn refolded_query(query: &str) -> String {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name), decoded(value));
        match pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.extend([",", &value]),
            None => pairs.push((name, value)),
        }
    }
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}
