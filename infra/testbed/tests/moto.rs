//! The emulator of SQS, and the helpers around it.

use std::time::Duration;

use serde_json::json;
use testbed::{Moto, eventually};

#[tokio::test]
async fn a_message_is_sent_counted_and_taken() {
    let moto = Moto::start().await;
    for fifo in [false, true] {
        let queue = moto.queue(fifo, json!({"VisibilityTimeout": "7"})).await;
        assert!(queue.url().starts_with(&format!("sqs+http://{}/123456789012/test-", moto.addr())));
        assert_eq!(queue.url().ends_with(".fifo"), fifo);
        assert_eq!(queue.attributes().await["VisibilityTimeout"], "7");
        for body in ["a", "b"] {
            queue.send(body).await;
        }
        assert_eq!(queue.count().await, 2);
        let bodies: Vec<_> = queue.take_all().await.iter().map(|message| message["Body"].clone()).collect();
        assert_eq!(bodies, ["a", "b"]);
        assert_eq!(queue.count().await, 0);
    }
    assert_ne!(moto.call("GetQueueUrl", json!({"QueueName": "none"})).await.0, 200);
    let addr = moto.addr();
    drop(moto);
    eventually("it is gone", Duration::from_secs(5), async || tokio::net::TcpStream::connect(addr).await.err()).await;
}
