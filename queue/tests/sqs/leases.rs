//! Leases: kept for everything that is held, ended on purpose and not by mistake, and given up when they are lost.

use std::time::Duration;

use serde_json::json;
use testbed::{Moto, Proxy, in_time};
use tokio::time::{Instant, sleep, timeout};
use webhook_queue::{LeaseLost, Received, Settlement, Subscribe, Subscriber};

use super::{body, publish, receive, subscriber};

/// Longer than a lease lasts that nobody extends.
const LAPSE: Duration = Duration::from_secs(31);

/// Nothing comes, for a while.
async fn nothing_comes(subscriber: &mut Subscriber) {
    if let Ok(received) = timeout(Duration::from_secs(1), subscriber.next()).await {
        panic!("there is still {received:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_held_is_kept_what_the_app_has_and_what_waits_for_it() {
    let queue = Moto::shared().await.queue(false, json!({})).await;
    publish(&queue.url(), &["1", "2", "3"]).await;
    let mut holder = subscriber(&queue.url());
    let first = receive(&mut holder).await;
    sleep(LAPSE).await;
    nothing_comes(&mut subscriber(&queue.url())).await;
    in_time("the settlement", first.settle(Settlement::Ack)).await.unwrap();
    for _ in 0..2 {
        in_time("the settlement", receive(&mut holder).await.settle(Settlement::Ack)).await.unwrap();
    }
    in_time("the close", holder.close()).await;
    assert_eq!(queue.count().await, 0);
}

/// AWS answers a delete with an old receipt handle with success, and may delete nothing ("the request succeeds, but the
/// message might not be deleted"). moto deletes the message of whoever has it now. Neither is asked.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_lapse_no_settlement_is_believed_and_none_is_tried() {
    let moto = Moto::shared().await;
    let (queue, proxy) = (moto.queue(false, json!({})).await, Proxy::start(moto.addr()).await);
    publish(&queue.url(), &["1", "2"]).await;
    let mut holder = subscriber(&queue.url_via(proxy.addr()));
    let (first, second) = (receive(&mut holder).await, receive(&mut holder).await);
    proxy.cut();
    sleep(LAPSE).await;
    proxy.heal();
    assert_eq!(in_time("the settlement", first.settle(Settlement::Ack)).await, Err(LeaseLost));
    assert_eq!(
        in_time("the settlement", second.settle(Settlement::Retry { after: Duration::ZERO })).await,
        Err(LeaseLost)
    );
    // It was the network, and no crash: to whoever lost them they are no suspects.
    let again = [receive(&mut holder).await, receive(&mut holder).await];
    let mut bodies = again.each_ref().map(body);
    bodies.sort();
    assert_eq!(bodies, ["1", "2"]);
    for delivery in again {
        assert_eq!(delivery.attempt(), 1);
        in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
    }
    in_time("the close", holder.close()).await;
    assert_eq!(queue.count().await, 0);
}

/// The message of a FIFO queue stays where it is, hidden: an extension after that would hide it for longer, or for less.
#[tokio::test(flavor = "multi_thread")]
async fn no_extension_follows_a_back_off() {
    let queue = Moto::shared().await.queue(true, json!({})).await;
    publish(&queue.url(), &["x"]).await;
    let mut subscriber = subscriber(&queue.url());
    let delivery = receive(&mut subscriber).await;
    // Just before leases are extended.
    sleep(Duration::from_secs(9)).await;
    let (start, after) = (Instant::now(), Duration::from_secs(12));
    in_time("the settlement", delivery.settle(Settlement::Retry { after })).await.unwrap();
    let Ok(Received::Delivery(again)) = timeout(after * 2, subscriber.next()).await else { panic!("it does not come") };
    assert!(start.elapsed() >= after && start.elapsed() < after + Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(again.attempt(), 2);
}

/// The word of a batch is not the word of each of its entries.
#[tokio::test(flavor = "multi_thread")]
async fn each_delete_of_a_batch_is_answered_for_itself() {
    let moto = Moto::shared().await;
    let queue = moto.queue(false, json!({})).await;
    publish(&queue.url(), &["purged 1", "purged 2", "purged 3"]).await;
    let mut holder = subscriber(&queue.url());
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(receive(&mut holder).await);
    }
    queue.purge().await;
    publish(&queue.url(), &["kept 1", "kept 2", "kept 3"]).await;
    for _ in 0..3 {
        held.push(receive(&mut holder).await);
    }
    let mut settling = tokio::task::JoinSet::new();
    for delivery in held {
        settling
            .spawn(async move { (body(&delivery), in_time("the settlement", delivery.settle(Settlement::Ack)).await) });
    }
    for (body, settled) in settling.join_all().await {
        assert_eq!(settled.is_ok(), body.starts_with("kept"), "{body}: {settled:?}");
    }
    assert_eq!(queue.count().await, 0);
}
