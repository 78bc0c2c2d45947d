//! What a handler says, and what becomes of the event: every promise that needs no queue.
#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use webhook_consumer::testing::{End, Kit, Trace, event};
use webhook_consumer::{
    Attempt, BoxError, Bytes, Call, DeadLetter, Event, Form, FromDelivery, FromRef, HandlerService, Json, Outcome,
    Query, Reason, Router, Settlement, State, Unhandled,
};

const HOUR: Duration = Duration::from_secs(3600);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn kit(router: Router) -> Kit {
    Kit::new(router).unwrap()
}

/// The one dead letter that a trace ends with.
fn dead(trace: &Trace) -> &DeadLetter {
    match &trace.end {
        End::DeadLettered(letter) => letter,
        end => panic!("not a dead letter: {end:?}"),
    }
}

async fn fails() -> Result<(), &'static str> {
    Err("no luck")
}

#[tokio::test(start_paused = true)]
async fn a_failure_climbs_the_ladder_until_the_maximum_age_and_is_dead_lettered() {
    let trace = kit(Router::new().on("s/*", fails)).deliver(event("s/t")).await;

    let began: Vec<u64> = trace.attempts.iter().map(|attempt| attempt.began.as_secs()).collect();
    assert_eq!(began[..8], [0, 1, 21, 81, 381, 1581, 5181, 8781]);
    let numbers: Vec<u32> = trace.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (1..=30).collect::<Vec<u32>>());
    assert_eq!(dead(&trace).reason, Reason::Retries);
    assert_eq!(dead(&trace).error, "no luck");
    assert_eq!(dead(&trace).handler.as_deref(), Some("s/*"));
    assert!(trace.elapsed >= 24 * HOUR && trace.elapsed < 24 * HOUR + seconds(2), "{:?}", trace.elapsed);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_an_event_has_waited_for_a_consumer_does_not_count() {
    let kit = kit(Router::new().on("s/*", fails));
    assert_eq!(kit.deliver(event("s/t").age(48 * HOUR)).await.attempts.len(), 30);
}

#[tokio::test(start_paused = true)]
async fn the_age_budget_can_be_set() {
    let trace = kit(Router::new().on("s/*", fails)).retry_max_age(seconds(30)).deliver(event("s/t")).await;
    assert_eq!(trace.attempts.len(), 4);
    assert!(trace.elapsed >= seconds(29) && trace.elapsed <= seconds(31), "{:?}", trace.elapsed);
}

#[tokio::test(start_paused = true)]
async fn explicit_outcomes_mean_what_they_say() {
    async fn speaks(Attempt(attempt): Attempt, body: Bytes) -> Result<Outcome, BoxError> {
        Ok(match (&body[..], attempt) {
            (b"dead", _) => Outcome::dead_letter("no such customer"),
            (b"retry", 1) => Outcome::retry_after(seconds(90)),
            (b"snooze", ..9) => Outcome::snooze(8 * HOUR),
            (b"unreadable", _) => Outcome::undecodable("not in my language"),
            (b"error", 1) => return Err("once".into()),
            _ => Outcome::Done,
        })
    }
    let kit = kit(Router::new().on("*/*", speaks));
    let deliver = async |body: &'static str| kit.deliver(event("s/t").body(body)).await;

    let trace = deliver("dead").await;
    assert_eq!((dead(&trace).reason, trace.attempts.len()), (Reason::Handler, 1));
    assert_eq!(dead(&trace).error, "no such customer");
    let trace = deliver("unreadable").await;
    assert_eq!((dead(&trace).reason, trace.attempts.len()), (Reason::Undecodable, 1));
    for (body, attempts, elapsed) in [("", 1, 0), ("retry", 2, 90), ("error", 2, 1), ("snooze", 9, 8 * 8 * 3600)] {
        let trace = deliver(body).await;
        assert_eq!((&trace.end, trace.attempts.len(), trace.elapsed.as_secs()), (&End::Acked, attempts, elapsed));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_snoozed_for_ever_does_not_keep_the_test_for_ever() {
    let snoozes = async || Outcome::snooze(24 * HOUR);
    let trace = kit(Router::new().on("s/t", snoozes)).deliver(event("s/t")).await;
    assert_eq!((trace.end, trace.attempts.len()), (End::Unfinished, 7));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_attempt() {
    async fn panics(Attempt(attempt): Attempt) {
        assert!(attempt > 2, "attempt {attempt}");
    }
    let kit = kit(Router::new().on("s/t", panics));
    assert_eq!(kit.deliver(event("s/t")).await.attempts.len(), 3);

    let trace = kit.retry_max_age(Duration::from_nanos(1)).deliver(event("s/t")).await;
    assert_eq!(
        (dead(&trace).reason, dead(&trace).error.as_str()),
        (Reason::Retries, "the handler panicked: attempt 2")
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_when_printed_is_a_failed_attempt() {
    #[derive(Debug)]
    struct Hostile;
    impl std::fmt::Display for Hostile {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("not printable")
        }
    }
    impl std::error::Error for Hostile {}
    let hostile_once = async |Attempt(attempt): Attempt| if attempt == 1 { Err(Hostile) } else { Ok(()) };
    let trace = kit(Router::new().on("s/t", hostile_once)).deliver(event("s/t")).await;
    assert_eq!((trace.end, trace.attempts.len()), (End::Acked, 2));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_has_failed() {
    let hangs_once = async |Attempt(attempt): Attempt| {
        if attempt == 1 {
            std::future::pending::<()>().await;
        }
    };
    let kit = kit(Router::new().on("s/t", hangs_once));
    assert_eq!(kit.deliver(event("s/t")).await.elapsed.as_secs(), 300 + 1);
    let kit = kit.handler_timeout(seconds(10));
    assert_eq!(kit.deliver(event("s/t")).await.elapsed.as_secs(), 10 + 1);
}

#[tokio::test]
async fn an_event_without_a_handler_is_dead_lettered_unless_the_app_says_otherwise() {
    let kit = kit(Router::new().on("s/t", async || ()));
    let trace = kit.deliver(event("s/other")).await;
    assert_eq!((dead(&trace).reason, dead(&trace).handler.as_deref()), (Reason::NoHandler, None));
    assert_eq!(kit.unhandled(Unhandled::Ack).deliver(event("s/other")).await.end, End::Acked);
}

#[derive(Debug, PartialEq, Deserialize)]
struct Product {
    number: u32,
}

#[tokio::test]
async fn arguments_are_made_from_the_event() {
    #[derive(Clone)]
    struct App {
        name: &'static str,
        port: u16,
    }
    impl FromRef<App> for u16 {
        fn from_ref(app: &App) -> u16 {
            app.port
        }
    }
    #[expect(clippy::too_many_arguments, reason = "this is how many a handler may have")]
    async fn takes_all(
        event: Event,
        Json(json): Json<Product>,
        Query(query): Query<HashMap<String, String>>,
        Form(form): Form<Vec<(String, String)>>,
        body: Bytes,
        State(app): State<App>,
        State(port): State<u16>,
        Attempt(attempt): Attempt,
    ) {
        assert_eq!((event.source.as_str(), event.event_type.as_str()), ("e-conomic", "product/updated"));
        assert_eq!((event.tenant.as_deref(), event.id.as_str()), (Some("123"), "abc"));
        assert_eq!((event.header("X-Shop"), event.http.method.as_str()), (Some("north"), "POST"));
        assert_eq!(json, Product { number: 33 });
        assert_eq!(query["q"], "a + b");
        assert_eq!(form, [("{\"number\":33}".to_owned(), String::new())]);
        assert_eq!((body, event.body), (Bytes::from("{\"number\":33}"), Bytes::from("{\"number\":33}")));
        assert_eq!((app.name, app.port, port, attempt), ("shop", 80, 80, 1));
    }
    let router = Router::new().on("e-conomic/*", takes_all).with_state(App { name: "shop", port: 80 });
    let event = event("e-conomic/product/updated")
        .id("abc")
        .tenant("123")
        .header("X-Shop", "north")
        .query("q=a+%2B+b")
        .body("{\"number\":33}");
    assert_eq!(kit(router).deliver(event).await.end, End::Acked);
}

#[tokio::test]
async fn what_cannot_be_read_is_dead_lettered_at_once() {
    let router = Router::new()
        .on("s/json", async |_: Json<Product>| ())
        .on("s/query", async |_: Query<Product>| ())
        .on("s/form", async |_: Form<Product>| ());
    let kit = kit(router);
    for (name, body, query, error) in [
        ("s/json", "{\"number\":\"x\"}", "", "the JSON body cannot be read, at line 1 column 13: invalid type: string"),
        ("s/json", "", "", "the JSON body cannot be read, at line 1 column 0: EOF while parsing"),
        ("s/query", "", "number=x", "the query cannot be read: invalid digit"),
        ("s/form", "nothing", "number=1", "the form body cannot be read: missing field `number`"),
    ] {
        let trace = kit.deliver(event(name).body(body).query(query)).await;
        assert_eq!((dead(&trace).reason, trace.attempts.len()), (Reason::Undecodable, 1), "{name}");
        assert!(dead(&trace).error.starts_with(error), "{}", dead(&trace).error);
    }
    assert_eq!(kit.deliver(event("s/json").json(&serde_json::json!({"number": 3}))).await.end, End::Acked);
    assert_eq!(kit.deliver(event("s/form").body("number=3")).await.end, End::Acked);
}

#[tokio::test(start_paused = true)]
async fn an_app_writes_its_own_arguments() {
    struct Tenant(String);
    impl FromDelivery<u32> for Tenant {
        async fn from_delivery(call: &Call, state: &u32) -> Result<Tenant, Outcome> {
            if call.attempt() < *state {
                return Err(Outcome::failed("the directory is away"));
            }
            call.event().tenant.clone().map(Tenant).ok_or_else(|| Outcome::dead_letter("no tenant"))
        }
    }
    let kit = kit(Router::new().on("s/t", async |Tenant(name): Tenant| assert_eq!(name, "123")).with_state(3));
    assert_eq!(kit.deliver(event("s/t").tenant("123")).await.attempts.len(), 3);
    assert_eq!(dead(&kit.deliver(event("s/t")).await).error, "no tenant");
}

#[tokio::test]
async fn the_most_literal_pattern_wins() {
    let named = |name: &'static str| async move || Outcome::dead_letter(name);
    let router = Router::new()
        .on("*/*", named("any"))
        .on("e-conomic/*", named("source"))
        .on("e-conomic/product-*", named("prefix"))
        .on("e-conomic/product-updated", named("exact"))
        .on("*/product-updated-by-hand", named("type"));
    let kit = kit(router);
    for (name, expected) in [
        ("github/push", "any"),
        ("e-conomic/invoice", "source"),
        ("e-conomic/product-deleted", "prefix"),
        ("e-conomic/product-updated", "exact"),
        ("e-conomic/product-updated-by-hand", "type"),
    ] {
        assert_eq!(dead(&kit.deliver(event(name)).await).error, expected, "{name}");
    }
}

#[test]
fn every_problem_of_a_router_is_reported() {
    let handler = async || ();
    let router = Router::new()
        .on("e-conomic", handler)
        .on("s/a*", handler)
        .on("s/*b", handler)
        .on("s/x", handler)
        .merge(Router::new().on("s/x", handler));
    let error = Kit::new(router).unwrap_err();
    assert!(error.is_router() && !error.is_config());
    assert_eq!(
        error.to_string(),
        "the router cannot be built: the pattern 'e-conomic' is not of the form source/type (write * for any); \
         the patterns 's/a*' and 's/*b' match some events equally well; the pattern 's/x' has two handlers"
    );
}

#[tokio::test]
async fn states_are_given_to_the_handlers_before_them() {
    let router = Router::new()
        .on("s/number", async |State(number): State<u32>| Outcome::dead_letter(number.to_string()))
        .with_state(7)
        .merge(Router::new().on("s/text", async |State(text): State<&str>| Outcome::dead_letter(text)).with_state("x"))
        .on("s/none", async || Outcome::dead_letter("none"));
    let kit = kit(router);
    for (name, expected) in [("s/number", "7"), ("s/text", "x"), ("s/none", "none")] {
        assert_eq!(dead(&kit.deliver(event(name)).await).error, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_layer_makes_a_failed_attempt() {
    let hangs_once = async |Attempt(attempt): Attempt| {
        if attempt == 1 {
            std::future::pending::<()>().await;
        }
    };
    let kit = kit(Router::new().on("s/t", hangs_once).layer(TimeoutLayer::new(seconds(3))));
    let trace = kit.deliver(event("s/t")).await;
    assert_eq!((trace.attempts.len(), trace.elapsed.as_secs()), (2, 3 + 1));
    let Settlement::Retry { after } = trace.attempts[0].settlement else { panic!("{trace:?}") };
    assert_eq!(after, seconds(1));
}

/// Counts how many run at once, and how many at most.
#[derive(Clone, Default)]
struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);

impl Gauge {
    async fn hold(&self, time: Duration) {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(time).await;
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_holds_for_each_handler_or_for_all() {
    async fn holds(State(gauge): State<Gauge>) {
        gauge.hold(seconds(200)).await;
    }
    async fn most<L>(layer: L) -> usize
    where
        L: Layer<HandlerService> + Clone + Send + Sync + 'static,
        L::Service: Service<Call, Response = Outcome, Error = BoxError> + Clone + Send + Sync + 'static,
        <L::Service as Service<Call>>::Future: Send,
    {
        let gauge = Gauge::default();
        let kit = kit(Router::new().on("s/a", holds).on("s/b", holds).layer(layer).with_state(gauge.clone()));
        let deliveries = ["s/a", "s/b", "s/a", "s/b", "s/a", "s/b"].map(|name| kit.deliver(event(name)));
        for trace in futures_util::future::join_all(deliveries).await {
            // Waiting for one's turn is no handler's time: six times 200 s are more than a handler has.
            assert_eq!((trace.end, trace.attempts.len()), (End::Acked, 1));
        }
        gauge.most()
    }
    assert_eq!(most(ConcurrencyLimitLayer::new(1)).await, 2);
    assert_eq!(most(GlobalConcurrencyLimitLayer::new(1)).await, 1);
}

#[tokio::test]
async fn layers_see_calls_and_outcomes_and_the_last_is_outermost() {
    let seen = Arc::new(AtomicU32::new(0));
    let times = |factor: u32, plus: u32| {
        let seen = seen.clone();
        tower::layer::layer_fn(move |inner: HandlerService| {
            let seen = seen.clone();
            service_fn(move |call: Call| {
                let (inner, seen) = (inner.clone(), seen.clone());
                async move {
                    assert_eq!(call.event().source, "s");
                    seen.store(seen.load(Ordering::SeqCst) * factor + plus, Ordering::SeqCst);
                    inner.oneshot(call).await
                }
            })
        })
    };
    let router =
        Router::new().on("s/inside", async || ()).layer(times(10, 1)).layer(times(10, 2)).on("s/after", async || ());
    let kit = kit(router);
    kit.deliver(event("s/inside")).await;
    assert_eq!(seen.load(Ordering::SeqCst), 21);
    kit.deliver(event("s/after")).await;
    assert_eq!(seen.load(Ordering::SeqCst), 21);
}

#[tokio::test(start_paused = true)]
async fn any_error_type_will_do() {
    #[derive(Debug, thiserror::Error)]
    #[error("the shop is closed")]
    struct Closed(#[source] std::io::Error);
    async fn io() -> Result<(), Closed> {
        Err(Closed(std::io::Error::other("refused")))
    }
    let kit = kit(Router::new().on("s/t", io)).retry_max_age(Duration::from_nanos(1));
    assert_eq!(dead(&kit.deliver(event("s/t").age(HOUR)).await).error, "the shop is closed: refused");
}
