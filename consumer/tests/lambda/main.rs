//! The handlers as a function: each batch of an SQS event source is answered with exactly what is to come again.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

mod batches;
mod function;
mod settling;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use webhook_consumer::{BatchHandler, BoxError, Consumer, Env, Event, Outcome, Router};

/// Runs what the bodies say, and keeps them in the order in which they were run.
#[derive(Clone, Default)]
struct Ran(Arc<Mutex<Vec<String>>>);

impl Ran {
    fn router(&self) -> Router {
        let ran = self.clone();
        Router::new().on("*/*", move |event: Event| {
            let ran = ran.clone();
            async move { ran.run(&event).await }
        })
    }

    async fn run(&self, event: &Event) -> Result<Outcome, BoxError> {
        let body = String::from_utf8(event.body.to_vec())?;
        self.0.lock().unwrap().push(body.clone());
        match body.as_str() {
            body if body.starts_with("fail") => Err("the shop is closed".into()),
            body if body.starts_with("die") => Ok(Outcome::dead_letter("no such product")),
            body if body.starts_with("panic") => panic!("a bug"),
            body if body.starts_with("hang") => std::future::pending().await,
            body if body.starts_with("block") => {
                std::thread::sleep(Duration::from_secs(3));
                Ok(Outcome::Done)
            }
            _ => Ok(Outcome::Done),
        }
    }

    fn bodies(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn variables(url: &str) -> [(&'static str, String); 3] {
    let text = |text: &str| text.to_owned();
    [("QUEUE_URL", text(url)), ("AWS_ACCESS_KEY_ID", text("test")), ("AWS_SECRET_ACCESS_KEY", text("test"))]
}

fn consumer(url: &str) -> Consumer {
    Consumer::with_env(Env::from_pairs(variables(url))).unwrap()
}

async fn answer(handler: &BatchHandler, event: &Value) -> Value {
    answer_within(handler, event, Duration::from_secs(20)).await
}

/// As of an invocation that has no more time than this.
async fn answer_within(handler: &BatchHandler, event: &Value, time: Duration) -> Value {
    let batch = serde_json::from_value(event.clone()).unwrap();
    let deadline = Instant::now() + time;
    let answer = handler.handle(batch, deadline).await;
    let late = deadline.elapsed();
    assert!(late < Duration::from_millis(400), "{late:?} after its deadline");
    serde_json::to_value(answer).unwrap()
}
