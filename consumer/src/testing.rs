//! Testing handlers without a queue.
//!
//! A [`Kit`] treats an event as a running consumer would: the same dispatch, the same retry ladder, the same limits. Only
//! the queue is missing; delays are slept through, so start the test with time paused and a day takes no time:
//! `#[tokio::test(start_paused = true)]`, from tokio's feature `test-util`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use webhook_queue::{DeadLetter, Event, Settlement, format_time};

use crate::call::Call;
use crate::dispatch::{Closing, DEFAULT_HANDLER_TIMEOUT, DEFAULT_RETRY_MAX_AGE, Dispatcher, Unhandled};
use crate::error::Error;
use crate::providers;
use crate::router::Router;

/// How long an event is delivered again: one that is snoozed for ever would keep a test for ever.
const LIMIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a header of a CloudEvent cannot hold as it is, beside what is not ASCII.
const CLOUD_EVENT_VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// A router in the hands of a test.
pub struct Kit {
    dispatcher: Dispatcher,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Every run of a handler, in order.
    pub attempts: Vec<Attempted>,
    /// How it ended.
    pub end: End,
    /// The time from the first delivery to the end.
    pub elapsed: Duration,
}

/// One run of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// Its number, from 1 on.
    pub number: u32,
    /// When it began, since the first began.
    pub began: Duration,
    /// How it ended.
    pub settlement: Settlement,
}

/// How an event ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A handler was done with it, or nobody wanted it.
    Acked,
    /// It is a dead letter.
    DeadLettered(DeadLetter),
    /// It still came again after a week; the kit stopped there.
    Unfinished,
}

impl Kit {
    /// A kit for this router, with a consumer's default settings.
    ///
    /// # Errors
    /// If a pattern is malformed, or two of them match the same events equally well.
    pub fn new(router: Router) -> Result<Kit, Error> {
        let dispatcher = Dispatcher {
            routes: router.build()?,
            unhandled: Unhandled::default(),
            retry_max_age: DEFAULT_RETRY_MAX_AGE,
            handler_timeout: DEFAULT_HANDLER_TIMEOUT,
        };
        Ok(Kit { dispatcher })
    }

    /// As [`Consumer::retry_max_age`](crate::Consumer::retry_max_age).
    #[must_use]
    pub fn retry_max_age(mut self, age: Duration) -> Kit {
        self.dispatcher.retry_max_age = age;
        self
    }

    /// As [`Consumer::handler_timeout`](crate::Consumer::handler_timeout).
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> Kit {
        self.dispatcher.handler_timeout = timeout;
        self
    }

    /// As [`Consumer::unhandled`](crate::Consumer::unhandled).
    #[must_use]
    pub fn unhandled(mut self, unhandled: Unhandled) -> Kit {
        self.dispatcher.unhandled = unhandled;
        self
    }

    /// Delivers the event, again and again if need be, until it is acknowledged or dead-lettered.
    pub async fn deliver(&self, event: impl Into<Event>) -> Trace {
        let event = Arc::new(event.into());
        let first = Instant::now();
        let drain = CancellationToken::new();
        let (mut attempts, mut number) = (Vec::new(), 1);
        let end = loop {
            let began = first.elapsed();
            let call = Call::new(Arc::clone(&event), number);
            let settlement = self.dispatcher.dispatch(call, 0, || first.elapsed(), Closing::Drain(&drain)).await;
            if settlement != Settlement::Release {
                attempts.push(Attempted { number, began, settlement: settlement.clone() });
            }
            match settlement {
                Settlement::Ack => break End::Acked,
                Settlement::DeadLetter(letter) => break End::DeadLettered(letter),
                Settlement::Retry { after } => {
                    tokio::time::sleep(after).await;
                    number += 1;
                }
                Settlement::Release => {}
            }
            if first.elapsed() >= LIMIT {
                break End::Unfinished;
            }
        };
        Trace { attempts, end, elapsed: first.elapsed() }
    }
}

impl std::fmt::Debug for Kit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kit").finish_non_exhaustive()
    }
}

/// An event for a test, of this `source/type`, received now by `POST`, with an empty body.
pub fn event(source_and_type: &str) -> EventBuilder {
    let (source, event_type) = source_and_type.split_once('/').unwrap_or((source_and_type, "webhook"));
    EventBuilder { event: Event::new(source, event_type, Bytes::new()) }
}

/// A notification of Fatture in Cloud for a test: what happened without `it.fattureincloud.webhooks.`, to which entities of
/// which company. Its source is `fatture-in-cloud`.
pub fn fatture_in_cloud(what: &str, company: u64, ids: &[u64]) -> EventBuilder {
    event(&format!("fatture-in-cloud/{}{what}", providers::fatture_in_cloud::TYPE_PREFIX))
        .tenant(&company.to_string())
        .subject(&format!("company:{company}"))
        .cloud_event("https://api-v2.fattureincloud.it", &json!({ "data": { "ids": ids } }))
}

/// An event in the making: see [`event`].
#[derive(Clone, Debug)]
pub struct EventBuilder {
    event: Event,
}

impl EventBuilder {
    /// The body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> EventBuilder {
        self.event.body = body.into();
        self
    }

    /// A body of JSON, with its `Content-Type`.
    ///
    /// # Panics
    /// If the value cannot be written as JSON.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test wants to stop there")]
    pub fn json(self, value: &impl Serialize) -> EventBuilder {
        let body = serde_json::to_vec(value).expect("a value that can be written as JSON");
        self.header("content-type", "application/json").body(body)
    }

    /// A body of `name=value` pairs, encoded as a form, with its `Content-Type`.
    ///
    /// # Panics
    /// If the value cannot be written as a form.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test wants to stop there")]
    pub fn form(self, pairs: &impl Serialize) -> EventBuilder {
        let body = serde_urlencoded::to_string(pairs).expect("a value that can be written as a form");
        self.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    /// The headers and the body of a CloudEvent in binary mode, from this source of the producer's own, with this data as
    /// JSON. Its id, type, time and subject are those set so far.
    ///
    /// # Panics
    /// If the data cannot be written as JSON.
    #[must_use]
    pub fn cloud_event(mut self, source: &str, data: &impl Serialize) -> EventBuilder {
        let event = &self.event;
        let attributes = [
            ("ce-specversion", Some("1.0".to_owned())),
            ("ce-id", Some(event.id.clone())),
            ("ce-source", Some(source.to_owned())),
            ("ce-type", Some(event.event_type.clone())),
            ("ce-time", Some(format_time(event.time))),
            ("ce-subject", event.subject.clone()),
        ];
        for (name, value) in attributes {
            if let Some(value) = value {
                self = self.header(name, &utf8_percent_encode(&value, CLOUD_EVENT_VALUE).to_string());
            }
        }
        self.json(data)
    }

    /// The request's query, encoded, without the leading `?`.
    #[must_use]
    pub fn query(mut self, query: &str) -> EventBuilder {
        self.event.http.query = query.to_owned();
        self
    }

    /// One more request header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> EventBuilder {
        self.event.http.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: &str) -> EventBuilder {
        self.event.tenant = Some(tenant.to_owned());
        self
    }

    /// What it happened to.
    #[must_use]
    pub fn subject(mut self, subject: &str) -> EventBuilder {
        self.event.subject = Some(subject.to_owned());
        self
    }

    /// The id, instead of a fresh one.
    #[must_use]
    pub fn id(mut self, id: &str) -> EventBuilder {
        self.event.id = id.to_owned();
        self
    }

    /// How long ago the forwarder received it.
    #[must_use]
    pub fn age(mut self, age: Duration) -> EventBuilder {
        self.event.received = SystemTime::now() - age;
        self
    }

    /// The event. All its fields are public, for what the builder leaves out.
    pub fn build(self) -> Event {
        self.event
    }
}

impl From<EventBuilder> for Event {
    fn from(builder: EventBuilder) -> Event {
        builder.build()
    }
}
