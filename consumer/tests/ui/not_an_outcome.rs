//! A return value that says nothing about the event.

use webhook_consumer::{Event, Router};

async fn handler(event: Event) -> usize {
    event.body.len()
}

fn main() {
    let _router: Router = Router::new().on("s/t", handler);
}
