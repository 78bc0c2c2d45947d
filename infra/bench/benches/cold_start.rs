//! Cold starts: the forwarder as a Lambda function beside the same job in Node and in Python, in one run on one broker.
//!
//! Each start is a fresh process that polls a stand-in of Lambda's runtime API, gets one webhook at once, and must answer
//! 200 with RabbitMQ's confirm. Node and Python import what they need, connect when the webhook is there, and poll
//! themselves: less than their platform's own clients do.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot run says why")]

#[path = "cold_start/functions.rs"]
mod functions;
#[path = "cold_start/runtime_api.rs"]
mod runtime_api;

use std::time::{Duration, Instant};

use bench::median;
use functions::Function;
use runtime_api::RuntimeApi;
use testbed::{Broker, Proxy, Version};
use webhook_queue::{QueueConfig, QueueUrl, setup};

const ROUNDS: usize = 15;
/// To the broker and back.
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// What one start took.
struct Start {
    to_first_poll: Duration,
    to_answer: Duration,
}

#[tokio::main]
async fn main() {
    let broker = Broker::start(Version::V3).await;
    let vhost = broker.vhost().await;
    setup(&QueueConfig::new(QueueUrl::parse(&vhost.amqp_url()).unwrap())).await.unwrap();
    let far = Proxy::start(broker.amqp_addr()).await;
    far.delay(ROUND_TRIP / 2);
    let networks = [("loopback", vhost.amqp_url()), ("40 ms round trip", vhost.amqp_url_via(far.addr()))];

    let functions = [functions::ours(), functions::node(), functions::python()];
    println!("\n{:<22}{:>12}", "artefact", "zip, bytes");
    for function in &functions {
        println!("{:<22}{:>12}", function.name, function.zip_bytes);
    }
    for (network, queue_url) in &networks {
        let mut starts: [Vec<Start>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (function, starts) in functions.iter().zip(&mut starts) {
                starts.push(start(function, queue_url).await);
            }
        }
        print(network, &functions, &starts);
    }
}

async fn start(function: &Function, queue_url: &str) -> Start {
    let api = RuntimeApi::listen().await;
    let began = Instant::now();
    let mut child = function.start(api.addr(), queue_url);
    let (polled, answered) = api.one_webhook().await;
    child.kill().unwrap();
    child.wait().unwrap();
    Start { to_first_poll: polled - began, to_answer: answered - polled }
}

fn print(network: &str, functions: &[Function], starts: &[Vec<Start>]) {
    println!("\n{network}, median of {ROUNDS} starts, ms");
    println!("{:<22}{:>14}{:>24}{:>8}", "", "to first poll", "from there to the 200", "both");
    let first_poll = |starts: &[Start]| median(starts.iter().map(|start| millis(start.to_first_poll)));
    for (function, starts) in functions.iter().zip(starts) {
        let answer = median(starts.iter().map(|start| millis(start.to_answer)));
        let both = median(starts.iter().map(|start| millis(start.to_first_poll + start.to_answer)));
        println!("{:<22}{:>14.1}{answer:>24.1}{both:>8.1}", function.name, first_poll(starts));
    }
    for (function, others) in functions.iter().zip(starts).skip(1) {
        let ratio = first_poll(others) / first_poll(&starts[0]);
        println!("to first poll, {} : {} = {ratio:.1}   (aim: at least 10)", function.name, functions[0].name);
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
