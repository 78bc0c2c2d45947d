//! Webhooks that the providers' own libraries sign and send, through the program and its queue to a handler. Whatever is
//! changed of them is refused.

mod webhooks;

use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::Value;
use testbed::{Program, eventually, node_senders, python_senders};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use webhook_consumer::{Consumer, Env, Event, Router, State};

use self::webhooks::{
    FATTURE_IN_CLOUD_URL, KEY, SECRET, TWILIO_URL, WEBHOOK_SECRET, Webhook, cloud_event, fatture_in_cloud, github,
    p256_key, shopify, slack, standard_webhook, stripe, twilio,
};
use crate::process::{Forwarder, PATIENCE, exchange, post, status};

/// A program that signs by the providers' libraries.
struct Sender {
    program: Program,
    jobs: ChildStdin,
}

/// What it has sent.
#[derive(Clone, Deserialize)]
struct Sent {
    status: u16,
    /// The source's address.
    behind: String,
    headers: Vec<(String, String)>,
    body: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_libraries_send_is_handled_and_nothing_else() {
    let (node, folder) = node_senders();
    let mut command = Command::new(node);
    command.args(["--input-type=module", "--eval", include_str!("senders/send.mjs")]).current_dir(folder);
    let (private, public) = p256_key();
    let webhooks = [
        standard_webhook("standardwebhooks"),
        standard_webhook("svix"),
        stripe(),
        github(),
        shopify(),
        twilio("twilio form"),
        twilio("twilio json"),
        cloud_event("cloudevents binary"),
        cloud_event("cloudevents structured"),
        fatture_in_cloud("fatture-in-cloud binary", &private),
        fatture_in_cloud("fatture-in-cloud structured", &private),
    ];
    accepted_as_sent_and_not_otherwise(Sender::start(command), &webhooks, &public).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pythons_libraries_send_is_handled_and_nothing_else() {
    let mut command = Command::new(python_senders());
    command.args(["-c", include_str!("senders/send.py")]);
    let (private, public) = p256_key();
    let webhooks = [
        standard_webhook("standardwebhooks"),
        standard_webhook("svix"),
        stripe(),
        slack(),
        twilio("twilio form"),
        cloud_event("cloudevents binary"),
        cloud_event("cloudevents structured"),
        fatture_in_cloud("fatture-in-cloud binary", &private),
        fatture_in_cloud("fatture-in-cloud structured", &private),
    ];
    accepted_as_sent_and_not_otherwise(Sender::start(command), &webhooks, &public).await;
}

async fn accepted_as_sent_and_not_otherwise(mut sender: Sender, webhooks: &[Webhook], public_key: &str) {
    let forwarder = Forwarder::start(&[
        ("SOURCE_STANDARD_WEBHOOKS_SIGNING_SECRET", WEBHOOK_SECRET),
        ("SOURCE_SVIX_SCHEME", "standard-webhooks"),
        ("SOURCE_SVIX_SIGNING_SECRET", WEBHOOK_SECRET),
        ("SOURCE_STRIPE_SIGNING_SECRET", WEBHOOK_SECRET),
        ("SOURCE_GITHUB_SIGNING_SECRET", SECRET),
        ("SOURCE_SHOPIFY_SIGNING_SECRET", SECRET),
        ("SOURCE_SLACK_SIGNING_SECRET", SECRET),
        ("SOURCE_TWILIO_SIGNING_SECRET", SECRET),
        ("SOURCE_TWILIO_URL", TWILIO_URL),
        ("SOURCE_CLOUDEVENTS_ACCESS_KEY", KEY),
        ("SOURCE_FATTURE_IN_CLOUD_URL", FATTURE_IN_CLOUD_URL),
        ("SOURCE_FATTURE_IN_CLOUD_PUBLIC_KEY", public_key),
    ]);
    let (events, mut handled) = unbounded_channel();
    let router = Router::new().on("*/*", note).with_state(events);
    let queue = [("QUEUE_URL", format!("sqlite:{}", forwarder.queue_file().display()))];
    let (handle, _) = Consumer::with_env(Env::from_pairs(queue)).unwrap().start(router).unwrap();
    let mut next = async || timeout(PATIENCE, handled.recv()).await.unwrap().unwrap();

    for webhook in webhooks {
        let Webhook { library, source, job, facts, covered } = webhook;
        let sent = sender.send(library, &format!("http://{}/webhooks/{source}", forwarder.address), job);
        assert_eq!(sent.status, 200, "{library}");
        let event = next().await;
        assert_eq!(told(&event), *facts, "{library}");
        assert_eq!((&*event.source, &event.body[..]), (*source, &sent.body()[..]), "{library}");

        // The same bytes once more are taken, so it is the change that is refused.
        let again = |sent: &Sent| status(&exchange(forwarder.connect(), &sent.request(source)));
        assert_eq!((again(&sent), next().await.id), (200, event.id), "{library}");
        for (place, after) in *covered {
            assert_eq!(again(&sent.changed(place, after)), 401, "{library}: {place} {after}");
        }
    }

    let waiting = "SELECT count(*) FROM deliveries";
    let file = Connection::open(forwarder.queue_file()).unwrap();
    let settled = async || (file.query_row(waiting, [], |row| row.get(0)) == Ok(0)).then_some(());
    eventually("nothing waits", PATIENCE, settled).await;
    let health = timeout(PATIENCE, handle.wait_for(|health| health.running == 0)).await.unwrap().unwrap();
    assert_eq!(health.counts.handled, 2 * webhooks.len() as u64);
}

fn told(event: &Event) -> String {
    let (tenant, subject) = (event.tenant.as_deref().unwrap_or("-"), event.subject.as_deref().unwrap_or("-"));
    let verified = event.verified.as_str();
    format!("{} id={} tenant={tenant} subject={subject} verified={verified}", event.event_type, event.id)
}

async fn note(State(events): State<UnboundedSender<Event>>, event: Event) {
    events.send(event).unwrap();
}

impl Sender {
    fn start(mut command: Command) -> Sender {
        let mut program = Program::start(command.stdin(Stdio::piped()));
        let jobs = program.input().unwrap();
        Sender { program, jobs }
    }

    fn send(&mut self, library: &str, url: &str, job: &Value) -> Sent {
        let mut job = job.clone();
        (job["library"], job["url"]) = (library.into(), url.into());
        writeln!(self.jobs, "{job}").unwrap();
        let line = self.program.line(Instant::now() + PATIENCE);
        serde_json::from_str(&line.unwrap_or_else(|| panic!("{library}: the program has ended"))).unwrap()
    }
}

impl Sent {
    fn body(&self) -> Vec<u8> {
        STANDARD.decode(&self.body).unwrap()
    }

    fn request(&self, source: &str) -> Vec<u8> {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        post(&format!("/webhooks/{source}{}", self.behind), headers.as_bytes(), &self.body())
    }

    /// With one byte changed of what stands in this place, all or after this text.
    fn changed(&self, place: &str, after: &str) -> Sent {
        let mut sent = self.clone();
        let text = |text: &str| String::from_utf8(changed(text.as_bytes(), after)).unwrap();
        match place {
            "behind" => sent.behind = text(&sent.behind),
            "body" => sent.body = STANDARD.encode(changed(&sent.body(), after)),
            name => {
                let header = sent.headers.iter_mut().find(|(other, _)| other.eq_ignore_ascii_case(name));
                let (_, value) = header.unwrap_or_else(|| panic!("no {name} among {:?}", self.headers));
                *value = text(value);
            }
        }
        sent
    }
}

/// Changes the third byte from the end: enough for a wrong signature, and so little that a time is still within what is
/// tolerated.
fn changed(bytes: &[u8], after: &str) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let end = if after.is_empty() {
        bytes.len()
    } else {
        let start = bytes.windows(after.len()).position(|window| window == after.as_bytes()).unwrap() + after.len();
        let ends = |byte: &u8| matches!(byte, b',' | b'"');
        start + bytes[start..].iter().position(ends).unwrap_or(bytes.len() - start)
    };
    let byte = &mut bytes[end - 3];
    *byte = if byte.is_ascii_digit() { *byte ^ 1 } else { b'0' };
    bytes
}
