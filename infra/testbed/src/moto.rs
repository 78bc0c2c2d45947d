//! A private emulator of Amazon SQS.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::http::exchange;
use crate::node::bind_free_ports;
use crate::tools::moto_server;

const START_LIMIT: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(20);
/// The account that moto plays.
const ACCOUNT: &str = "123456789012";
/// A `moto_server` of its own on 127.0.0.1. It ends with this value, or with the process.
///
/// It keeps everything in memory and is slow: tens of messages a second.
#[derive(Debug)]
pub struct Moto {
    addr: SocketAddr,
    queues: AtomicUsize,
    keeper: Child,
    _folder: TempDir,
}

/// One queue on it.
#[derive(Debug)]
pub struct SqsQueue<'a> {
    moto: &'a Moto,
    name: String,
}

impl Moto {
    /// The emulator of this test process, started by the first who asks.
    pub async fn shared() -> &'static Moto {
        static SHARED: OnceCell<Moto> = OnceCell::const_new();
        SHARED.get_or_init(Moto::start).await
    }

    /// An emulator of the test's own.
    pub async fn start() -> Moto {
        let addr = bind_free_ports(1)[0].local_addr().expect("it is bound");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut keeper = Command::new("sh");
        keeper.arg("-c").arg(include_str!("keeper.sh")).arg("keeper").arg(folder.path().join("pid"));
        keeper.arg(moto_server()).args(["-H", "127.0.0.1", "-p", &addr.port().to_string()]);
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let keeper = keeper.spawn().expect("sh can be run");
        let moto = Moto { addr, queues: AtomicUsize::new(0), keeper, _folder: folder };
        let deadline = Instant::now() + START_LIMIT;
        while moto.call("ListQueues", json!({})).await.0 != 200 {
            assert!(Instant::now() < deadline, "moto does not answer within {START_LIMIT:?}");
            sleep(Duration::from_millis(50)).await;
        }
        moto
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A fresh queue; with `.fifo` behind its name if `fifo`. `attributes` is an object of texts.
    pub async fn queue(&self, fifo: bool, mut attributes: Value) -> SqsQueue<'_> {
        let queue = self.absent_queue(fifo);
        if fifo {
            attributes["FifoQueue"] = "true".into();
        }
        self.must("CreateQueue", json!({"QueueName": queue.name, "Attributes": attributes})).await;
        queue
    }

    /// The name of a queue that is still to be made.
    pub fn absent_queue(&self, fifo: bool) -> SqsQueue<'_> {
        let number = self.queues.fetch_add(1, Ordering::Relaxed) + 1;
        SqsQueue { moto: self, name: format!("test-{number}{}", if fifo { ".fifo" } else { "" }) }
    }

    /// Status and body of an SQS action. The status is 0 while there is no answer.
    pub async fn call(&self, action: &str, parameters: Value) -> (u16, Value) {
        let credentials = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, \
                           SignedHeaders=host, Signature=0";
        let request = Request::post("/")
            .header("host", self.addr.to_string())
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("AmazonSQS.{action}"))
            .header("authorization", credentials)
            .body(Full::new(Bytes::from(parameters.to_string())))
            .expect("a request");
        match exchange(self.addr, request, DEADLINE).await {
            Ok(answer) => (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default()),
            Err(error) => (0, error.to_string().into()),
        }
    }

    async fn must(&self, action: &str, parameters: Value) -> Value {
        let (status, body) = self.call(action, parameters).await;
        assert_eq!(status, 200, "{action}: {body}");
        body
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // At the end of its input the keeper kills the emulator, and ends.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl SqsQueue<'_> {
    /// What `QUEUE_URL` calls it.
    pub fn url(&self) -> String {
        self.url_via(self.moto.addr)
    }

    /// As [`SqsQueue::url`], through another address: that of a [`crate::Proxy`].
    pub fn url_via(&self, addr: SocketAddr) -> String {
        format!("sqs+http://{addr}/{ACCOUNT}/{}", self.name)
    }

    /// What SQS calls it.
    fn plain_url(&self) -> String {
        format!("http://{}/{ACCOUNT}/{}", self.moto.addr, self.name)
    }

    /// Its attributes.
    pub async fn attributes(&self) -> Value {
        let wanted = json!({"QueueUrl": self.plain_url(), "AttributeNames": ["All"]});
        self.moto.must("GetQueueAttributes", wanted).await["Attributes"].take()
    }

    /// How many messages are on it, held ones included.
    pub async fn count(&self) -> usize {
        let attributes = self.attributes().await;
        let count = |name: &str| attributes[name].as_str().expect("a count").parse::<usize>().expect("a number");
        count("ApproximateNumberOfMessages") + count("ApproximateNumberOfMessagesNotVisible")
    }

    /// Puts a message on it.
    pub async fn send(&self, body: &str) {
        let mut message = json!({"QueueUrl": self.plain_url(), "MessageBody": body});
        if self.name.ends_with(".fifo") {
            message["MessageGroupId"] = "test".into();
            message["MessageDeduplicationId"] = self.count().await.to_string().into();
        }
        self.moto.must("SendMessage", message).await;
    }

    /// Takes all messages off it: as SQS shows them, with every attribute.
    pub async fn take_all(&self) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let wanted = json!({"QueueUrl": self.plain_url(), "MaxNumberOfMessages": 10, "AttributeNames": ["All"],
                                "MessageAttributeNames": ["All"]});
            let mut answer = self.moto.must("ReceiveMessage", wanted).await;
            let Some(messages) = answer["Messages"].as_array_mut().filter(|messages| !messages.is_empty()) else {
                return all;
            };
            for message in std::mem::take(messages) {
                let handle = &message["ReceiptHandle"];
                self.moto.must("DeleteMessage", json!({"QueueUrl": self.plain_url(), "ReceiptHandle": handle})).await;
                all.push(message);
            }
        }
    }
}
