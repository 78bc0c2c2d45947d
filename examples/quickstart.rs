//! A forwarder, a queue and a consumer in one process, with nothing to install and nothing to configure:
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! Outside of an example the forwarder is a process of its own (the program `webhook-forwarder`) and the queue is
//! RabbitMQ, Amazon SQS, or an SQLite file that both processes share.
#![expect(clippy::print_stdout, reason = "what the handlers do is to be seen")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use webhook_consumer::providers::e_conomic::Change;
use webhook_consumer::{BoxError, Consumer, Event, Handle, Router};
use webhook_forwarder::{Env, ForwarderConfig, Publisher, listen, serve, shutdown_signal};
use webhook_queue_examples::SAMPLES;

/// What every source here asks for that no signature proves. Yours each have a long random key of their own.
const KEY: &str = "quickstart";
/// How long a sample may be on its way.
const PATIENCE: Duration = Duration::from_secs(10);

/// Any event: its body is the exact bytes of the request.
async fn any(event: Event) {
    println!("{}", line(&event));
}

async fn product_updated(event: Event, change: Change) {
    let what = match change {
        Change::Created { number } => format!("product {number} was created"),
        Change::Deleted { number } => format!("product {number} was deleted"),
        Change::Updated { number } => format!("product {number} was changed"),
        Change::Renumbered { old, new } => format!("product {old} is now {new}"),
    };
    println!("{}\n    {what}", line(&event));
}

fn line(event: &Event) -> String {
    let (name, hash) = (format!("{}/{}", event.source, event.event_type), short_sha256(&event.body));
    let mut line = format!("  {name:<41} {:>5}  {hash}  {}", event.body.len(), event.id);
    if !event.http.query.is_empty() {
        line += &format!("\n    ?{}", event.http.query);
    }
    line
}

/// The first 16 digits that `sha256sum` would print.
fn short_sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let logs = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(logs).with_writer(io::stderr).init();

    // What would be environment variables. A folder of its own: no event of an earlier run, or of another program.
    let folder = tempfile::Builder::new().prefix("webhook-queue-").tempdir()?;
    let file = folder.path().join("webhooks.db");
    let sources = SAMPLES.iter().flat_map(|sample| sample.variables(KEY));
    let queue = [("QUEUE_URL".to_owned(), format!("sqlite:{}", file.display()))];
    let config = ForwarderConfig::with_env(Env::from_pairs(sources.chain(queue)))?;

    // The forwarder: answers 200 when the queue has confirmed the event.
    let (publisher, queue) = (Publisher::open(&config.queue)?, config.queue.clone());
    let listener = listen(config.listen).or_else(|_| listen((Ipv4Addr::LOCALHOST, 0).into()))?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let forwarder = tokio::spawn(serve(config, publisher, listener, stop.clone().cancelled_owned()));

    // The consumer: hands each event to the handler whose pattern fits best.
    let router = Router::new().on("*/*", any).on("e-conomic/product-updated", product_updated);
    let (handle, consumer) = Consumer::new(queue).start(router)?;

    println!("forwarder  http://{address}");
    println!("queue      {} (removed at the end)\n", file.display());
    let demonstrate = async {
        send_samples(address, &handle).await?;
        print_what_to_try(address);
        std::future::pending().await
    };
    let ended = tokio::select! {
        failed = demonstrate => failed,
        () = shutdown_signal()? => Ok(()),
    };

    // First the forwarder, so that nothing new is accepted, then the consumer.
    stop.cancel();
    forwarder.await??;
    handle.drain();
    let counts = consumer.await?.counts;
    println!("\nStopped: {} events were handled.", counts.handled);
    ended
}

async fn send_samples(address: SocketAddr, handle: &Handle) -> Result<(), BoxError> {
    println!("One sample of each provider's webhook, sent over HTTP, answered 200 by the forwarder, and what the");
    println!("handlers got (a body that its provider does not document is only {{}} here):\n");
    println!("  {:<41} {:>5}  {:<16}  id", "source/type", "bytes", "sha256");
    for (sent, sample) in (1..).zip(SAMPLES) {
        sample.send(address, KEY).await?;
        let handled = timeout(PATIENCE, handle.wait_for(|health| health.counts.handled >= sent));
        handled.await.map_err(|_| format!("the webhook of {} was not handled", sample.source))??;
    }
    Ok(())
}

fn print_what_to_try(address: SocketAddr) {
    println!(
        "\nEach source checks its provider's signature, or a key where the provider does not sign. Types are read from"
    );
    println!("headers or bodies where they are there, else from the URL; else a type is `webhook`.\n");
    println!("Try it in another terminal: an update of a product, and a body of all 256 byte values.\n");
    let url = format!("http://{address}/webhooks/e-conomic");
    println!("  curl -i -X POST '{url}/product-updated?key={KEY}&newnumber=34&oldnumber=33'\n");
    println!("  printf '%b' \"$(printf '\\\\0%03o' $(seq 0 255))\" | \\");
    println!("    curl -i --data-binary @- '{url}/all-bytes?key={KEY}'\n");
    println!("Serving until Ctrl-C.\n");
}
