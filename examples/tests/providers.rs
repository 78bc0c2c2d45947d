//! From a request over HTTP, through the forwarder and a queue, to the typed argument of a handler.
#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use webhook_consumer::providers::e_conomic::{Change, DayBookBooked, Entity, InventoryUpdated, InvoiceBooked};
use webhook_consumer::providers::ecovelo::Topic;
use webhook_consumer::providers::fatture_in_cloud::Notification;
use webhook_consumer::{Bytes, Consumer, Event, Handle, Router, State};
use webhook_forwarder::{Env, ForwarderConfig, Publisher, listen, serve};
use webhook_queue_examples::SAMPLES;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);
const KEY: &str = "k3y";

/// What the handlers got, as they print it.
type Got = UnboundedSender<String>;

/// The forwarder's own server, an SQLite queue, and a consumer with a typed handler for each event.
struct Stage {
    address: SocketAddr,
    got: UnboundedReceiver<String>,
    _handle: Handle,
    _stop: DropGuard,
    _folder: tempfile::TempDir,
}

fn tell(got: &Got, what: impl Debug) {
    got.send(format!("{what:?}")).unwrap();
}

async fn changed(State(got): State<Got>, entity: Entity, change: Change) {
    tell(&got, (entity, change));
}

fn router(got: Got) -> Router {
    Router::new()
        .on("e-conomic/*-updated", changed)
        .on("e-conomic/invoice-booked", async |State(got): State<Got>, booked: InvoiceBooked| tell(&got, booked))
        .on("e-conomic/day-book-booked", async |State(got): State<Got>, booked: DayBookBooked| tell(&got, booked))
        .on("e-conomic/product-inventory-updated", async |State(got): State<Got>, of: InventoryUpdated| tell(&got, of))
        .on("ecovelo/*", async |State(got): State<Got>, topic: Topic, body: Bytes| tell(&got, (topic, body)))
        .on("fatture-in-cloud/*", async |State(got): State<Got>, changed: Notification| tell(&got, changed))
        .on("*/*", async |State(got): State<Got>, event: Event| tell(&got, event))
        .with_state(got)
}

impl Stage {
    fn set() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let queue = [("QUEUE_URL".to_owned(), format!("sqlite:{}", folder.path().join("webhooks.db").display()))];
        let variables = SAMPLES.iter().flat_map(|sample| sample.variables(KEY)).chain(queue);
        let listen_anywhere = [("LISTEN".to_owned(), "127.0.0.1:0".to_owned())];
        let config = ForwarderConfig::with_env(Env::from_pairs(variables.chain(listen_anywhere))).unwrap();
        let listener = listen(config.listen).unwrap();
        let address = listener.local_addr().unwrap();
        let publisher = Publisher::open(&config.queue).unwrap();
        let stop = CancellationToken::new();
        let (to_us, got) = unbounded_channel();
        let (_handle, consumer) = Consumer::new(config.queue.clone()).start(router(to_us)).unwrap();
        tokio::spawn(serve(config, publisher, listener, stop.clone().cancelled_owned()));
        tokio::spawn(consumer);
        Stage { address, got, _handle, _stop: stop.drop_guard(), _folder: folder }
    }

    /// Sends a request, which must be answered 200.
    async fn send(&self, target: &str, content_type: &str, body: impl AsRef<[u8]>) {
        let (and, body) = (if target.contains('?') { '&' } else { '?' }, body.as_ref());
        let head = format!(
            "POST /webhooks/{target}{and}key={KEY} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
    }

    async fn handled(&mut self) -> String {
        timeout(PATIENCE, self.got.recv()).await.unwrap().unwrap()
    }

    /// What a handler makes of a request to e-conomic's source.
    async fn e_conomic(&mut self, target: &str, content_type: &str, body: impl AsRef<[u8]>) -> String {
        self.send(&format!("e-conomic/{target}"), content_type, body).await;
        self.handled().await
    }
}

fn of(entity: Entity, change: Change) -> String {
    format!("{:?}", (entity, change))
}

fn number(number: &str) -> String {
    number.to_owned()
}

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn the_example_of_e_conomics_own_page_reaches_its_handler() {
    let mut stage = Stage::set();
    let updated = Change::Updated { number: number("33") };
    let got = stage.e_conomic("product-updated?newnumber=33&oldnumber=33", FORM, "").await;
    assert_eq!(got, of(Entity::Product, updated));
    for (query, change) in [
        ("newnumber=33&oldnumber=", Change::Created { number: number("33") }),
        ("newnumber=&oldnumber=33", Change::Deleted { number: number("33") }),
        ("newnumber=34&oldnumber=33", Change::Renumbered { old: number("33"), new: number("34") }),
    ] {
        let got = stage.e_conomic(&format!("product-updated?{query}"), FORM, "").await;
        assert_eq!(got, of(Entity::Product, change), "{query}");
    }
}

/// One web hook as somebody has told customers to set it up, with the merge fields filled in.
struct Configuration {
    /// Who, and where they say so.
    whose: &'static str,
    target: &'static str,
    content_type: &'static str,
    data: &'static str,
    /// What the handler gets.
    means: fn() -> String,
}

/// Every configuration that is published with all that it sends. The type in the URL is ours: each has paths of its own
/// there.
const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        whose: "e-conomic, 'Working with web hooks', 'Using web hooks'",
        target: "product-updated?newnumber=33&oldnumber=33",
        content_type: FORM,
        data: "",
        means: || of(Entity::Product, Change::Updated { number: number("33") }),
    },
    Configuration {
        whose: "e-conomic, github.com/e-conomic/eco-api-ex, WebHookUpdate_InvoiceBooked.aspx.cs",
        target: "invoice-booked?invoiceno=10001",
        content_type: FORM,
        data: "",
        means: || "InvoiceBooked { number: \"10001\" }".to_owned(),
    },
    Configuration {
        whose: "Hubhus, support.hubhus.com, article 80001189430: book=[DAYBOOKNO]&from=[FROMSERIALNO]&to=[TOSERIALNO]",
        target: "day-book-booked",
        content_type: FORM,
        data: "book=1&from=2041&to=2043",
        means: || "DayBookBooked { number: \"1\", from_serial: \"2041\", to_serial: \"2043\" }".to_owned(),
    },
    Configuration {
        whose: "Hubhus, the same: number=[INVOICENO]",
        target: "invoice-booked",
        content_type: FORM,
        data: "number=10001",
        means: || "InvoiceBooked { number: \"10001\" }".to_owned(),
    },
    Configuration {
        whose: "Hubhus, the same: old=[OLDNUMBER]&new=[NEWNUMBER]",
        target: "customer-updated",
        content_type: FORM,
        data: "old=&new=7",
        means: || of(Entity::Customer, Change::Created { number: number("7") }),
    },
    Configuration {
        whose: "Rackbeat, helpdesk.rackbeat.com/da/knowledge/ht-01024: [OLDNUMBER]&[NEWNUMBER]",
        target: "product-updated",
        content_type: FORM,
        data: "33&33",
        means: || of(Entity::Product, Change::Updated { number: number("33") }),
    },
    Configuration {
        whose: "FlowAgent: numbers=[OLDNUMBER]&newnumber=[newnumber]&oldnumber=[oldnumber]",
        target: "product-updated",
        content_type: "application/json",
        data: "numbers=33&newnumber=34&oldnumber=33",
        means: || of(Entity::Product, Change::Renumbered { old: number("33"), new: number("34") }),
    },
];

#[tokio::test]
async fn every_configuration_seen_in_the_wild_reaches_its_handler() {
    let mut stage = Stage::set();
    for Configuration { whose, target, content_type, data, means } in CONFIGURATIONS {
        assert_eq!(stage.e_conomic(target, content_type, data).await, means(), "{whose}");
    }
    // What the table of merge fields has besides.
    let got = stage.e_conomic("product-inventory-updated?number=33", FORM, "").await;
    assert_eq!(got, "InventoryUpdated { number: \"33\" }");
    for body in [&b"old=K%F8l+1&new=K%F8l+1"[..], b"old=K\xf8l 1&new=K\xf8l 1", "old=Køl 1&new=K%C3%B8l%201".as_bytes()]
    {
        let got = stage.e_conomic("product-updated", FORM, body).await;
        assert_eq!(got, of(Entity::Product, Change::Updated { number: number("Køl 1") }));
    }
}

#[tokio::test]
async fn ecovelo_and_fatture_in_cloud_reach_their_handlers() {
    let mut stage = Stage::set();
    stage.send("ecovelo/trip.terminated", "application/json", r#"{"any":1}"#).await;
    let topic = Topic { resource: "trip".to_owned(), event: "terminated".to_owned() };
    assert_eq!(stage.handled().await, format!("{:?}", (topic, Bytes::from(r#"{"any":1}"#))));

    let told =
        "Notification { company: 108061, resource: \"issued_documents.invoices\", action: \"create\", ids: [3062300] }";
    let binary = SAMPLES.iter().find(|sample| sample.source == "fatture-in-cloud").unwrap();
    binary.send(stage.address, KEY).await.unwrap();
    assert_eq!(stage.handled().await, told);
    let structured = r#"{"id":"198:f059b211-24f4-44ab-9859-b1613a9a0712","source":"https://api-v2.fattureincloud.it",
        "specversion":"1.0","type":"it.fattureincloud.webhooks.issued_documents.invoices.create",
        "subject":"company:108061","time":"2023-03-21T09:00:13+01:00","datacontenttype":"application/json",
        "data":{"ids":[3062300]}}"#;
    for content_type in ["application/json", "application/cloudevents+json"] {
        stage.send("fatture-in-cloud", content_type, structured).await;
        assert_eq!(stage.handled().await, told, "{content_type}");
    }
}
