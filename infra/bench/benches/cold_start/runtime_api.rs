//! A stand-in of Lambda's runtime API that has one webhook to give.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// No start takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct RuntimeApi {
    listener: TcpListener,
}

/// When the function polled for the first time, and when it had answered.
#[derive(Clone, Copy, Default)]
struct Seen {
    polled: Option<Instant>,
    answered: Option<Instant>,
}

impl RuntimeApi {
    pub(crate) async fn listen() -> RuntimeApi {
        RuntimeApi { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Hands one webhook to whoever polls first, and waits for the answer, which must be a 200. Says when each was.
    pub(crate) async fn one_webhook(self) -> (Instant, Instant) {
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let mut answered = seen.subscribe();
        // Ends the connections with itself.
        let mut connections = JoinSet::new();
        let accept = async {
            loop {
                let (stream, _) = self.listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let seen = Arc::clone(&seen);
                let service = service_fn(move |request| respond(Arc::clone(&seen), request));
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        };
        let seen = tokio::select! {
            seen = timeout(PATIENCE, answered.wait_for(|seen| seen.answered.is_some())) => *seen.unwrap().unwrap(),
            () = accept => unreachable!("it accepts for ever"),
        };
        (seen.polled.unwrap(), seen.answered.unwrap())
    }
}

async fn respond(
    seen: Arc<watch::Sender<Seen>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let now = Instant::now();
    if request.uri().path().ends_with("/invocation/next") {
        if seen.borrow().polled.is_some() {
            return std::future::pending().await;
        }
        seen.send_modify(|seen| seen.polled = Some(now));
        let response = Response::builder()
            .header("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
            .header("lambda-runtime-deadline-ms", "4102444800000")
            .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:123456789012:function:webhooks")
            .body(Full::from(webhook().to_string()));
        return Ok(response.unwrap());
    }
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert!(path.ends_with("/response"), "{path}: {body:?}");
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    seen.send_modify(|seen| seen.answered = Some(now));
    Ok(Response::builder().status(202).body(Full::default()).unwrap())
}

/// As a function URL hands it over.
fn webhook() -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "isBase64Encoded": false,
        "rawPath": "/webhooks/shop/order", "rawQueryString": "newnumber=33&oldnumber=33",
        "headers": {"content-type": "application/json", "host": "abc.lambda-url.eu-west-1.on.aws",
                    "user-agent": "e-conomic", "x-forwarded-for": "192.0.2.1"},
        "requestContext": {
            "accountId": "anonymous", "apiId": "abc", "domainName": "abc.lambda-url.eu-west-1.on.aws", "domainPrefix": "abc",
            "http": {"method": "POST", "path": "/webhooks/shop/order", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                     "userAgent": "e-conomic"},
            "requestId": "id", "routeKey": "$default", "stage": "$default", "time": "22/Nov/2026:10:00:00 +0000",
            "timeEpoch": 1795341600000_u64
        },
        "body": format!("{{\"number\": 33, \"padding\": \"{}\"}}", "x".repeat(bench::BODY_BYTES)),
    })
}
