//! A server that speaks the protocol of Amazon SQS, and one queue on it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

use crate::http::exchange;

const DEADLINE: Duration = Duration::from_secs(20);
/// The account that the servers play.
pub(crate) const ACCOUNT: &str = "123456789012";

/// The id of the access key that the test bed's own requests are signed with.
pub(crate) const OWN_KEY: &str = "testbed";

/// Whoever plays SQS, as seen from outside.
#[derive(Debug)]
pub struct SqsServer {
    addr: SocketAddr,
    queues: AtomicUsize,
}

/// One queue on it.
#[derive(Debug)]
pub struct SqsQueue<'a> {
    server: &'a SqsServer,
    name: String,
}

impl SqsServer {
    pub(crate) fn at(addr: SocketAddr) -> SqsServer {
        SqsServer { addr, queues: AtomicUsize::new(0) }
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
        SqsQueue { server: self, name: format!("test-{number}{}", if fifo { ".fifo" } else { "" }) }
    }

    /// Status and body of an SQS action. The status is 0 while there is no answer.
    pub async fn call(&self, action: &str, parameters: Value) -> (u16, Value) {
        let credentials = format!(
            "AWS4-HMAC-SHA256 Credential={OWN_KEY}/20260101/us-east-1/sqs/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
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

impl SqsQueue<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What `QUEUE_URL` calls it.
    pub fn url(&self) -> String {
        self.url_via(self.server.addr)
    }

    /// As [`SqsQueue::url`], through another address: that of a [`crate::Proxy`].
    pub fn url_via(&self, addr: SocketAddr) -> String {
        format!("sqs+http://{addr}/{ACCOUNT}/{}", self.name)
    }

    /// What SQS calls it.
    fn plain_url(&self) -> String {
        format!("http://{}/{ACCOUNT}/{}", self.server.addr, self.name)
    }

    /// The queue of dead letters beside it.
    pub fn dead(&self) -> SqsQueue<'_> {
        let name = match self.name.strip_suffix(".fifo") {
            Some(stem) => format!("{stem}-dead.fifo"),
            None => format!("{}-dead", self.name),
        };
        SqsQueue { server: self.server, name }
    }

    /// Its attributes.
    pub async fn attributes(&self) -> Value {
        let wanted = json!({"QueueUrl": self.plain_url(), "AttributeNames": ["All"]});
        self.server.must("GetQueueAttributes", wanted).await["Attributes"].take()
    }

    /// How many messages are on it, held ones included.
    pub async fn count(&self) -> usize {
        let (waiting, held) = self.counts().await;
        waiting + held
    }

    /// How many messages wait on it, and how many are held.
    pub async fn counts(&self) -> (usize, usize) {
        let attributes = self.attributes().await;
        let count = |name: &str| attributes[name].as_str().expect("a count").parse::<usize>().expect("a number");
        (count("ApproximateNumberOfMessages"), count("ApproximateNumberOfMessagesNotVisible"))
    }

    /// Puts a message on it.
    pub async fn send(&self, body: &str) {
        let mut message = json!({"QueueUrl": self.plain_url(), "MessageBody": body});
        if self.name.ends_with(".fifo") {
            message["MessageGroupId"] = "test".into();
            message["MessageDeduplicationId"] = self.count().await.to_string().into();
        }
        self.server.must("SendMessage", message).await;
    }

    /// Takes away all messages, held ones included.
    pub async fn purge(&self) {
        self.server.must("PurgeQueue", json!({"QueueUrl": self.plain_url()})).await;
    }

    /// Hands up to ten messages to a function, as an event source does: they stay until they are deleted, or come again.
    pub async fn hand_out(&self) -> Value {
        let wanted = json!({"QueueUrl": self.plain_url(), "MaxNumberOfMessages": 10, "AttributeNames": ["All"],
                            "MessageAttributeNames": ["All"]});
        let mut answer = self.server.must("ReceiveMessage", wanted).await;
        let messages = answer["Messages"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let record = |message: Value| {
            json!({"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"],
                   "attributes": message["Attributes"], "messageAttributes": {}, "eventSource": "aws:sqs",
                   "eventSourceARN": format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{}", self.name)})
        };
        json!({"Records": messages.into_iter().map(record).collect::<Vec<_>>()})
    }

    /// Deletes what a function was handed and has not reported, as an event source does.
    pub async fn delete_unreported(&self, event: &Value, answer: &Value) {
        let failures = answer["batchItemFailures"].as_array().expect("an answer");
        for record in event["Records"].as_array().expect("an event") {
            if failures.iter().all(|failure| failure["itemIdentifier"] != record["messageId"]) {
                let wanted = json!({"QueueUrl": self.plain_url(), "ReceiptHandle": record["receiptHandle"]});
                self.server.must("DeleteMessage", wanted).await;
            }
        }
    }

    /// Takes all messages off it: as SQS shows them, with every attribute.
    pub async fn take_all(&self) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let wanted = json!({"QueueUrl": self.plain_url(), "MaxNumberOfMessages": 10, "AttributeNames": ["All"],
                                "MessageAttributeNames": ["All"]});
            let mut answer = self.server.must("ReceiveMessage", wanted).await;
            let Some(messages) = answer["Messages"].as_array_mut().filter(|messages| !messages.is_empty()) else {
                return all;
            };
            for message in std::mem::take(messages) {
                let handle = &message["ReceiptHandle"];
                self.server.must("DeleteMessage", json!({"QueueUrl": self.plain_url(), "ReceiptHandle": handle})).await;
                all.push(message);
            }
        }
    }
}
