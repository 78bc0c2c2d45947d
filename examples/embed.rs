//! An app that embeds the consumer: its own state, typed handlers, limits around them, dead letters that are moved
//! back once their cause is mended, health, and a graceful end.
//!
//! ```sh
//! echo '{"108061": "Rossi"}' > accounts.json
//! QUEUE_URL=amqps://user:password@host/vhost cargo run --example embed
//! ```
//!
//! Events of a tenant that `accounts.json` does not know become dead letters. Add the tenant to the file and send
//! SIGHUP: the app reads the file again and asks for its dead letters back.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what the app does is to be seen")]

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::interval;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::timeout::TimeoutLayer;
use tracing_subscriber::EnvFilter;
use webhook_consumer::providers::e_conomic::{Change, InvoiceBooked};
use webhook_consumer::providers::fatture_in_cloud::Notification;
use webhook_consumer::{BoxError, Consumer, Event, Handle, Health, Outcome, Router, State, chain};

/// How long one handler may take, and how many may run at a time: what the service behind them can bear.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const CALLS_AT_A_TIME: usize = 4;
const HEALTH_EVERY: Duration = Duration::from_secs(5);

/// Accounts by tenant.
type Accounts = BTreeMap<String, String>;

/// What the handlers share: a database pool and an HTTP client, in an app of your own.
#[derive(Clone)]
struct App {
    accounts: watch::Receiver<Accounts>,
}

impl App {
    fn account(&self, tenant: &str) -> Option<String> {
        self.accounts.borrow().get(tenant).cloned()
    }

    /// Stands for the app's own work. An event may come more than once, and not in order: fetch the current state
    /// from the provider and store it, and neither does harm.
    async fn refresh(&self, what: &str) -> Result<(), BoxError> {
        println!("refreshed {what}");
        Ok(())
    }
}

/// An error is a failed attempt: the event comes again, after a second at first, later after an hour.
async fn product_changed(State(app): State<App>, change: Change) -> Result<(), BoxError> {
    match change {
        Change::Created { number } | Change::Updated { number } => app.refresh(&format!("product {number}")).await,
        Change::Renumbered { old, new } => app.refresh(&format!("product {new} (was {old})")).await,
        Change::Deleted { number } => app.refresh(&format!("the list of products, without {number}")).await,
    }
}

/// What is no such notification never gets here: it is a dead letter at once, as `undecodable`.
async fn documents_changed(State(app): State<App>, changed: Notification) -> Result<(), BoxError> {
    for id in changed.ids {
        app.refresh(&format!("document {id} of {}", changed.company)).await?;
    }
    Ok(())
}

/// No attempt can succeed before somebody has told the app about the tenant: a dead letter, with the reason.
async fn invoice_booked(State(app): State<App>, event: Event, invoice: InvoiceBooked) -> Result<Outcome, BoxError> {
    let tenant = event.tenant.as_deref().unwrap_or_default();
    let Some(account) = app.account(tenant) else {
        return Ok(Outcome::dead_letter(format!("no account for the tenant '{tenant}'")));
    };
    app.refresh(&format!("invoice {} of {account}", invoice.number)).await?;
    Ok(Outcome::Done)
}

fn router(app: App) -> Router {
    Router::new()
        .on("e-conomic/product-updated", product_changed)
        .on("e-conomic/invoice-booked", invoice_booked)
        .on("fatture-in-cloud/it.fattureincloud.webhooks.issued_documents.*", documents_changed)
        // The last layer is the outermost: waiting for one's turn is not timed.
        .layer(TimeoutLayer::new(CALL_TIMEOUT))
        .layer(GlobalConcurrencyLimitLayer::new(CALLS_AT_A_TIME))
        .with_state(app)
}

#[tokio::main]
async fn main() -> ExitCode {
    let logs = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(logs).with_writer(io::stderr).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embed: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let (accounts, known) = watch::channel(read_accounts()?);
    let mut hangup = signal(SignalKind::hangup())?;
    let mut look = interval(HEALTH_EVERY);
    let mut seen = None;

    // QUEUE_URL and its like are read from the environment. The consumer runs beside the app until SIGTERM or Ctrl-C.
    // Then nothing new is begun, and what runs may finish, within CONSUMER_GRACE.
    let consumer = Consumer::from_env()?.drain_on_signals();
    let (handle, mut drained) = consumer.start(router(App { accounts: known }))?;
    let summary = loop {
        tokio::select! {
            _ = look.tick() => print_if_changed(handle.health(), &mut seen),
            _ = hangup.recv() => match mend(&accounts, &handle).await {
                Ok(moved) => println!("moved {moved} dead letters back"),
                Err(error) => eprintln!("embed: {}", chain(&*error)),
            },
            summary = &mut drained => break summary?,
        }
    };
    println!("drained: {} handled, {} interrupted", summary.counts.handled, summary.interrupted);
    Ok(())
}

/// Moves all dead letters that there are. One whose cause is not mended yet fails again, and stays a dead letter.
async fn mend(accounts: &watch::Sender<Accounts>, handle: &Handle) -> Result<usize, BoxError> {
    accounts.send_replace(read_accounts()?);
    Ok(handle.replay(usize::MAX).await?)
}

fn read_accounts() -> Result<Accounts, BoxError> {
    let file = std::env::var("ACCOUNTS_FILE").unwrap_or_else(|_| "accounts.json".to_owned());
    let text = std::fs::read(&file).map_err(|error| format!("ACCOUNTS_FILE: {file} cannot be read: {error}"))?;
    serde_json::from_slice(&text)
        .map_err(|error| format!("ACCOUNTS_FILE: {file} is not what is wanted: {error}").into())
}

/// What an app answers to a health check.
fn print_if_changed(health: Health, seen: &mut Option<Health>) {
    if seen.replace(health) != Some(health) {
        let counts = health.counts;
        println!(
            "health: {}, {} running, {} handled, {} retried, {} dead-lettered",
            health.queue, health.running, counts.handled, counts.retried, counts.dead_lettered
        );
    }
}
