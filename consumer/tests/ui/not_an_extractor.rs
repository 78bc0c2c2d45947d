//! An argument that is not an extractor.

use webhook_consumer::Router;

async fn handler(_name: String) {}

fn main() {
    let _router: Router = Router::new().on("s/t", handler);
}
