//! A queue of a test's own, of every kind there is.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::Value;
use testbed::{Broker, Moto, SqsQueue, Version, Vhost, eventually};
use tokio::time::Instant;
use webhook_consumer::{Consumer, Env, Event, QueueConfig};
use webhook_queue::{Publish, Publisher, Role};

/// Long enough for a busy machine; nothing here takes that long unless it fails.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The queues on RabbitMQ.
pub(crate) const MAIN: &str = "hooks";
const DEAD: &str = "hooks.dead";

/// A fresh queue, described by `QUEUE_*` variables, so that another process can be given it too.
pub(crate) struct Queue {
    pub(crate) pairs: Vec<(String, String)>,
    place: Place,
}

enum Place {
    Sqlite { file: PathBuf, _dir: tempfile::TempDir },
    RabbitMq { vhost: Vhost },
    Sqs { queue: SqsQueue<'static> },
}

impl Queue {
    pub(crate) fn sqlite() -> Queue {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("webhooks.db");
        let pairs = vec![("QUEUE_URL".to_owned(), format!("sqlite:{}", file.display()))];
        Queue { pairs, place: Place::Sqlite { file, _dir: dir } }
    }

    pub(crate) async fn sqs() -> Queue {
        let queue = Moto::shared().await.absent_queue(false);
        let pairs = [("QUEUE_URL", &*queue.url()), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Queue { pairs, place: Place::Sqs { queue } }
    }

    pub(crate) async fn rabbitmq(version: Version) -> Queue {
        Queue::on(Broker::shared(version).await, "classic").await
    }

    /// On this broker, with this `QUEUE_TYPE`.
    pub(crate) async fn on(broker: &Broker, queue_type: &str) -> Queue {
        let vhost = broker.vhost().await;
        let pairs = [("QUEUE_URL", vhost.amqp_url()), ("QUEUE_NAME", MAIN.into()), ("QUEUE_TYPE", queue_type.into())];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Queue { pairs, place: Place::RabbitMq { vhost } }
    }

    /// The variables of the same queue, reached through another address and with another heartbeat, in seconds.
    pub(crate) fn pairs_via(&self, addr: SocketAddr, heartbeat: u16) -> Vec<(String, String)> {
        let mut pairs = self.pairs.clone();
        pairs[0].1 = format!("{}?heartbeat={heartbeat}", self.vhost().amqp_url_via(addr));
        pairs
    }

    /// Where it is on SQLite.
    pub(crate) fn file(&self) -> rusqlite::Connection {
        match &self.place {
            Place::Sqlite { file, .. } => sqlite(file),
            Place::RabbitMq { .. } | Place::Sqs { .. } => panic!("only SQLite has files"),
        }
    }

    /// Where it is on RabbitMQ.
    pub(crate) fn vhost(&self) -> &Vhost {
        match &self.place {
            Place::RabbitMq { vhost } => vhost,
            Place::Sqlite { .. } | Place::Sqs { .. } => panic!("only RabbitMQ has virtual hosts"),
        }
    }

    pub(crate) fn env(&self) -> Env {
        Env::from_pairs(self.pairs.iter().cloned())
    }

    pub(crate) fn consumer(&self) -> Consumer {
        Consumer::with_env(self.env()).unwrap()
    }

    /// A publisher to the queue, which exists from now on.
    pub(crate) async fn publisher(&self) -> Publisher {
        let mut env = self.env();
        let config = QueueConfig::from_env(&mut env, Role::Consumer);
        env.finish().unwrap();
        webhook_queue::setup(&config).await.unwrap();
        Publisher::open(&config).unwrap()
    }

    /// Publishes one event for each `source/type` and body, and returns their ids.
    pub(crate) async fn publish(&self, events: &[(&str, &str)]) -> Vec<String> {
        let publisher = self.publisher().await;
        let mut ids = Vec::new();
        for (name, body) in events {
            let (source, event_type) = name.split_once('/').unwrap();
            let event = Event::new(source, event_type, body.as_bytes().to_vec());
            publisher.publish(&event, Instant::now() + SOON).await.unwrap();
            ids.push(event.id);
        }
        publisher.close().await;
        ids
    }

    /// Publishes many events with these bodies, some at once, and returns their ids.
    pub(crate) async fn publish_many(&self, bodies: &[String]) -> Vec<String> {
        const AT_ONCE: usize = 32;
        let publisher = &self.publisher().await;
        let published = stream::iter(bodies).map(async |body| {
            let event = Event::new("s", "t", body.clone().into_bytes());
            // Where it is told to, the queue refuses for a while.
            eventually("the event is confirmed", SOON, async || {
                publisher.publish(&event, Instant::now() + SOON).await.ok()
            })
            .await;
            event.id
        });
        let ids = published.buffered(AT_ONCE).collect().await;
        publisher.close().await;
        ids
    }

    /// Whether an event that a dead process held comes again only when its lease has lapsed.
    pub(crate) fn has_leases(&self) -> bool {
        matches!(self.place, Place::Sqlite { .. } | Place::Sqs { .. })
    }

    /// Makes leases lapse now that only dead processes hold. A broker notices by itself that they are dead.
    pub(crate) fn let_leases_lapse(&self) {
        if let Place::Sqlite { file, .. } = &self.place {
            sqlite(file).execute("UPDATE deliveries SET lease_until = 1 WHERE lease IS NOT NULL", []).unwrap();
        }
    }

    /// How many events are not settled, and how many of them somebody holds; `None` while the broker does not say.
    pub(crate) async fn unsettled(&self) -> Option<(usize, usize)> {
        let number = |number: u64| usize::try_from(number).unwrap();
        match &self.place {
            Place::Sqlite { file, .. } => {
                let sql = "SELECT count(*), count(lease) FROM deliveries";
                let row = sqlite(file).query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
                row.ok().map(|(all, held)| (number(all.unsigned_abs()), number(held.unsigned_abs())))
            }
            Place::Sqs { queue } => {
                let (waiting, held) = queue.counts().await;
                Some((waiting + held, held))
            }
            Place::RabbitMq { vhost } => {
                let (_, queues) = vhost.api("GET", &format!("queues/{}", vhost.name()), None).await;
                let mut queues = queues.as_array()?.iter().filter(|queue| queue["name"] != DEAD);
                queues.try_fold((0, 0), |(all, held), queue| {
                    // A queue to which nothing has happened since the broker's start may have no figures. Ours has.
                    let missing = (queue["name"] != MAIN).then_some(0);
                    let figure = |name: &str| queue[name].as_u64().map(number).or(missing);
                    Some((all + figure("messages")?, held + figure("messages_unacknowledged")?))
                })
            }
        }
    }

    /// The dead letters: their reasons by event id. Waits until there are `count`, and takes them off RabbitMQ and SQS.
    pub(crate) async fn dead_letters(&self, count: usize) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        eventually("the dead letters", SOON, async || {
            match &self.place {
                Place::Sqlite { file, .. } => found = sqlite_dead_letters(file),
                Place::Sqs { queue } => {
                    let dead = queue.dead().take_all().await;
                    found.extend(dead.iter().map(sqs_dead_letter));
                }
                Place::RabbitMq { vhost } => {
                    while let Some(message) = vhost.get(DEAD).await {
                        let headers = &message["properties"]["headers"];
                        let text = |name: &str| headers[name].as_str().unwrap_or_default().to_owned();
                        found.insert(text("cloudEvents:id"), text("dead:reason"));
                    }
                }
            }
            (found.len() >= count).then_some(())
        })
        .await;
        found
    }
}

fn sqs_dead_letter(message: &Value) -> (String, String) {
    let event: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
    let reason = &message["MessageAttributes"]["dead.reason"]["StringValue"];
    [&event["id"], reason].map(|text| text.as_str().unwrap().to_owned()).into()
}

fn sqlite_dead_letters(file: &PathBuf) -> BTreeMap<String, String> {
    let connection = sqlite(file);
    let sql = "SELECT events.id, reason FROM dead_letters JOIN events USING (seq)";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn sqlite(file: &PathBuf) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.busy_timeout(SOON).unwrap();
    connection
}
