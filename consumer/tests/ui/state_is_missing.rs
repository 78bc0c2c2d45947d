//! A router that was never given the state its handlers need.

use webhook_consumer::{Consumer, Router, State};

#[derive(Clone)]
struct Shop;

async fn handler(State(_shop): State<Shop>) {}

fn main() {
    let consumer = Consumer::from_env().unwrap();
    let _ = consumer.start(Router::new().on("s/t", handler));
}
