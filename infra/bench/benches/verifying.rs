//! What it costs to verify a webhook: the instructions of one with a body of 1 KiB, from the service's door to its answer,
//! for each scheme that signs. The queue takes everything at once. Needs valgrind, which counts them.
//!
//! This program runs itself in valgrind, with few webhooks and with many: the difference is theirs alone. Valgrind plays a
//! processor without instructions for SHA, so a real one takes fewer: hence the time, too.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot run says why")]

#[path = "verifying/providers.rs"]
mod providers;

use std::process::Command;

use bench::{BODY_BYTES, ROUNDS};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::time::Instant;
use tower::ServiceExt;
use webhook_forwarder::{Env, Event, Forwarder, ForwarderConfig, Publish, PublishError, Readiness};

use providers::{Provider, providers};

const FEW: u64 = 10;
const MANY: u64 = 110;
const TIMED: u64 = 5000;
const AIM_MICROSECONDS: f64 = 15.0;
const ROLE: &str = "VERIFYING";

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        let (name, webhooks) = role.rsplit_once(' ').unwrap();
        let provider = providers().into_iter().find(|provider| provider.name == name).unwrap();
        return verify(&provider, webhooks.parse().unwrap());
    }
    println!("{:<30}{:>20}{:>16}{:>24}", "", "instructions each", "of the proof", "microseconds of it");
    let providers = providers();
    let mut without_proof = None;
    for (provider, microseconds) in providers.iter().zip(microseconds(&providers)) {
        let name = provider.name;
        let each = (instructions(name, MANY) - instructions(name, FEW)) / (MANY - FEW);
        let (other_instructions, other_microseconds) = *without_proof.get_or_insert((each, microseconds));
        let (count, took) = (each.saturating_sub(other_instructions), microseconds - other_microseconds);
        let verdict = if !provider.aims || took <= AIM_MICROSECONDS { "" } else { "   (more than the aim)" };
        println!("{name:<30}{each:>20}{count:>16}{took:>24.1}{verdict}");
    }
    println!(
        "processor time without valgrind, the best of {ROUNDS} rounds; aim of what signs by HMAC: at most {AIM_MICROSECONDS}"
    );
}

/// Of one webhook of each, in the best of the rounds, which are interleaved.
fn microseconds(providers: &[Provider]) -> Vec<f64> {
    let mut best = vec![f64::MAX; providers.len()];
    for _ in 0..ROUNDS {
        for (provider, best) in providers.iter().zip(&mut best) {
            let began = processor_nanoseconds();
            verify(provider, TIMED);
            *best = best.min((processor_nanoseconds() - began) as f64 / 1000.0 / TIMED as f64);
        }
    }
    best
}

/// What this thread has had of a processor, whoever else wanted it.
fn processor_nanoseconds() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse().unwrap()
}

/// As callgrind counts them.
fn instructions(name: &str, webhooks: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .env(ROLE, format!("{name} {webhooks}"))
        .output()
        .unwrap_or_else(|error| panic!("valgrind (Debian's package of that name): {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let (_, count) = told.split_once("Collected : ").unwrap();
    count.lines().next().unwrap().trim().parse().unwrap()
}

fn verify(provider: &Provider, webhooks: u64) {
    let config = ForwarderConfig::with_env(Env::from_pairs(provider.variables.iter().cloned())).unwrap();
    let forwarder = Forwarder::new(&config, Taken);
    let mut request = Request::post(&provider.target);
    for (name, value) in &provider.headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::<Bytes>::from(provider.body.clone())).unwrap();
    assert_eq!(provider.body.len(), BODY_BYTES);
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        for _ in 0..webhooks {
            assert_eq!(forwarder.clone().oneshot(request.clone()).await.unwrap().status(), 200, "{}", provider.name);
        }
    });
}

/// A queue that takes everything and keeps nothing.
struct Taken;

impl Publish for Taken {
    async fn publish(&self, _: &Event, _: Instant) -> Result<(), PublishError> {
        Ok(())
    }

    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    fn max_body_bytes(&self) -> usize {
        usize::MAX
    }

    async fn close(&self) {}
}
