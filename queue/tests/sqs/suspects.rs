//! Suspects: how often a process died of one is neither lost nor made up.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Fate, Proxy, SqsQueue, SqsStandIn, eventually, in_time};
use tokio::time::timeout;
use webhook_queue::{Delivery, Received, Settlement, Subscribe, Subscriber, decode_sqs};

use super::{body, publish, receive, soon, subscriber};

/// A queue on which all events are in the hands of somebody who is gone.
struct Stage<'a> {
    server: &'a SqsStandIn,
    queue: SqsQueue<'a>,
    /// SQS's ids of their messages.
    messages: Vec<Value>,
}

impl Stage<'_> {
    async fn set<'a>(server: &'a SqsStandIn, bodies: &[&str]) -> Stage<'a> {
        let queue = server.queue(false, json!({})).await;
        publish(&queue.url(), bodies).await;
        let mut messages = vec![Value::Null; bodies.len()];
        while messages.contains(&Value::Null) {
            for record in queue.hand_out().await["Records"].as_array().unwrap() {
                let event = decode_sqs(record["body"].as_str().unwrap()).unwrap();
                let place = bodies.iter().position(|body| event.body == *body).unwrap();
                messages[place] = record["messageId"].clone();
            }
        }
        server.let_leases_lapse(&queue);
        let stage = Stage { server, queue, messages };
        stage.call("CreateQueue", json!({"QueueName": stage.notes()})).await;
        stage
    }

    /// The name of the queue for notes.
    fn notes(&self) -> String {
        format!("{}-suspect", self.queue.url().rsplit('/').next().unwrap())
    }

    async fn call(&self, action: &str, parameters: Value) -> Value {
        let (status, body) = self.server.call(action, parameters).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Notes that so many processes have died of this event.
    async fn blame(&self, place: usize, crashes: u32) {
        let note = json!({"message": self.messages[place], "crashes": crashes}).to_string();
        self.call("SendMessage", json!({"QueueUrl": self.notes(), "MessageBody": note})).await;
    }

    /// How many notes there are, be it that somebody reads them.
    async fn count_notes(&self) -> usize {
        let body = self.call("GetQueueAttributes", json!({"QueueUrl": self.notes()})).await;
        let count = |name: &str| body["Attributes"][name].as_str().unwrap().parse::<usize>().unwrap();
        count("ApproximateNumberOfMessages") + count("ApproximateNumberOfMessagesNotVisible")
    }
}

async fn announced(subscriber: &mut Subscriber) {
    let received = tokio::time::timeout_at(soon(), subscriber.next()).await.expect("nothing came");
    assert!(matches!(received, Received::Suspects), "{received:?}");
}

async fn receive_suspect(subscriber: &mut Subscriber) -> Delivery {
    loop {
        if let Some(suspect) = in_time("a suspect", subscriber.next_suspect()).await {
            return suspect;
        }
        announced(subscriber).await;
    }
}

async fn close(subscriber: Subscriber) {
    in_time("the close", subscriber.close()).await;
}

/// What one reader of the notes holds, another one does not see.
#[tokio::test(flavor = "multi_thread")]
async fn no_count_is_lost_while_many_are_settled() {
    let server = SqsStandIn::start().await;
    let bodies: Vec<String> = (0..25).map(|number| number.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let stage = Stage::set(&server, &bodies).await;
    let crashes = |body: &str| if body.ends_with('4') { 2 } else { 0 };
    for place in (0..bodies.len()).filter(|place| crashes(bodies[*place]) > 0) {
        stage.blame(place, 2).await;
    }
    let mut subscriber = subscriber(&stage.queue.url());
    let (mut settled, mut handed_back) = (0, HashSet::new());
    while settled < bodies.len() {
        let suspect = receive_suspect(&mut subscriber).await;
        let body = body(&suspect);
        assert_eq!(suspect.crashes(), crashes(&body), "{body}");
        if suspect.crashes() > 0 && handed_back.insert(body) {
            drop(suspect);
        } else {
            in_time("the settlement", suspect.settle(Settlement::Ack)).await.unwrap();
            settled += 1;
        }
    }
    assert!(subscriber.next_suspect().await.is_none());
    eventually("no notes", Duration::from_secs(10), async || (stage.count_notes().await == 0).then_some(())).await;
    close(subscriber).await;
}

/// A consumer that drains does not wait for a suspect.
#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_while_notes_are_read_hides_none() {
    let server = SqsStandIn::start().await;
    let stage = Stage::set(&server, &["x"]).await;
    stage.blame(0, 2).await;
    let mut one = subscriber(&stage.queue.url());
    announced(&mut one).await;
    let taken = timeout(Duration::from_millis(300), one.next_suspect()).await;
    assert!(taken.is_err(), "reading takes longer: {taken:?}");
    close(one).await;
    let mut other = subscriber(&stage.queue.url());
    assert_eq!(receive_suspect(&mut other).await.crashes(), 2);
    close(other).await;
    assert_eq!(stage.count_notes().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_while_a_note_is_written_leaves_none() {
    let server = SqsStandIn::start().await;
    let stage = Stage::set(&server, &["x"]).await;
    let proxy = Proxy::start(server.addr()).await;
    let mut one = subscriber(&stage.queue.url_via(proxy.addr()));
    announced(&mut one).await;
    // It is there for so long before anybody is told.
    proxy.delay(Duration::from_millis(500));
    let written = async || (stage.count_notes().await == 1).then_some(());
    tokio::select! {
        taken = one.next_suspect() => panic!("too late: {taken:?}"),
        () = eventually("a note", Duration::from_secs(20), written) => {}
    }
    proxy.delay(Duration::ZERO);
    close(one).await;
    assert_eq!(stage.count_notes().await, 0);
    let mut other = subscriber(&stage.queue.url());
    assert_eq!(receive_suspect(&mut other).await.crashes(), 0);
    close(other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_may_have_been_written_is_taken_away() {
    let server = SqsStandIn::start().await;
    let stage = Stage::set(&server, &["x"]).await;
    server.doom("crashes", Fate::Unmentioned);
    let mut subscriber = subscriber(&stage.queue.url());
    let suspect = receive_suspect(&mut subscriber).await;
    assert_eq!((suspect.crashes(), stage.count_notes().await), (0, 1));
    let settled = suspect.settle(Settlement::Retry { after: Duration::ZERO });
    in_time("the settlement", settled).await.unwrap();
    assert_eq!(receive(&mut subscriber).await.attempt(), 2);
    close(subscriber).await;
    assert_eq!(stage.count_notes().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_count_is_told_though_no_note_can_be_written() {
    let server = SqsStandIn::start().await;
    let stage = Stage::set(&server, &["x"]).await;
    stage.blame(0, 3).await;
    server.doom("crashes", Fate::Fails(403, "AccessDeniedException"));
    let mut subscriber = subscriber(&stage.queue.url());
    assert_eq!(receive_suspect(&mut subscriber).await.crashes(), 3);
    close(subscriber).await;
    assert_eq!(stage.count_notes().await, 1, "nobody has died of it this time, and nobody has forgotten the others");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_that_is_hidden_for_its_retry_has_no_note_while_another_is_run() {
    let server = SqsStandIn::start().await;
    let stage = Stage::set(&server, &["x", "y"]).await;
    // No copy of an event can be sent, and notes can.
    server.doom("specversion", Fate::Fails(403, "AccessDeniedException"));
    let mut subscriber = subscriber(&stage.queue.url());
    let first = receive_suspect(&mut subscriber).await;
    let settled = first.settle(Settlement::Retry { after: Duration::from_secs(600) });
    in_time("the settlement", settled).await.unwrap();
    let second = receive_suspect(&mut subscriber).await;
    assert_eq!(stage.count_notes().await, 1, "of the second alone");
    drop(second);
    close(subscriber).await;
}
