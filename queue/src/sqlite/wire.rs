//! One event as one row of `events`: each attribute is a column of the same name.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Statement};

use crate::Event;

/// The CloudEvents attributes that are columns.
const ATTRIBUTES: [&str; 15] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "tenant",
    "idorigin",
    "verified",
    "httpmethod",
    "httppath",
    "httpquery",
    "httpclient",
    "httpheaders",
    "rung",
];
/// The columns behind them.
const OTHERS: [&str; 4] = ["traceparent", "tracestate", "received", "body"];

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let marks = vec!["?"; ATTRIBUTES.len() + OTHERS.len()].join(", ");
    format!("INSERT INTO events ({}) VALUES ({marks})", columns())
});
static SELECT: LazyLock<String> = LazyLock::new(|| format!("SELECT {} FROM events WHERE seq = ?1", columns()));

/// An event, made ready for the writer by whoever publishes it.
#[derive(Debug)]
pub(super) struct EventRow {
    attributes: [Option<String>; ATTRIBUTES.len()],
    traceparent: Option<String>,
    tracestate: Option<String>,
    received_us: i64,
    body: Bytes,
}

impl EventRow {
    pub(super) fn new(event: &Event) -> EventRow {
        let mut by_name: BTreeMap<_, _> = event.attributes().into_iter().collect();
        let since_1970 = event.received.duration_since(UNIX_EPOCH).unwrap_or_default();
        EventRow {
            attributes: ATTRIBUTES.map(|name| by_name.remove(name).map(|value| value.into_owned())),
            traceparent: event.traceparent.clone(),
            tracestate: event.tracestate.clone(),
            received_us: i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX),
            body: event.body.clone(),
        }
    }

    /// Roughly what it will occupy.
    pub(super) fn bytes(&self) -> usize {
        self.body.len() + self.attributes.iter().flatten().map(String::len).sum::<usize>()
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Writes the row and says its `seq`.
    pub(super) fn insert(&self, connection: &Connection) -> Result<i64, rusqlite::Error> {
        let mut statement = connection.prepare_cached(&INSERT)?;
        self.bind(&mut statement)?;
        statement.raw_execute()?;
        Ok(connection.last_insert_rowid())
    }

    fn bind(&self, statement: &mut Statement<'_>) -> Result<(), rusqlite::Error> {
        for (index, value) in self.attributes.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, value)?;
        }
        let next = ATTRIBUTES.len() + 1;
        statement.raw_bind_parameter(next, &self.traceparent)?;
        statement.raw_bind_parameter(next + 1, &self.tracestate)?;
        statement.raw_bind_parameter(next + 2, self.received_us)?;
        statement.raw_bind_parameter(next + 3, &self.body[..])
    }
}

/// Reads the event at `seq`.
pub(super) fn read(connection: &Connection, seq: i64) -> Result<Event, rusqlite::Error> {
    connection.prepare_cached(&SELECT)?.query_row([seq], event)
}

fn event(row: &Row<'_>) -> Result<Event, rusqlite::Error> {
    let mut attributes = BTreeMap::new();
    for (index, name) in ATTRIBUTES.into_iter().enumerate() {
        if let ValueRef::Text(text) = row.get_ref(index)? {
            attributes.insert(name.to_owned(), String::from_utf8_lossy(text).into_owned());
        }
    }
    let next = ATTRIBUTES.len();
    let body = row.get_ref(next + 3)?.as_blob().unwrap_or_default();
    let mut event = Event::from_attributes(attributes, time(row.get(next + 2)?), Bytes::copy_from_slice(body));
    event.traceparent = row.get(next)?;
    event.tracestate = row.get(next + 1)?;
    Ok(event)
}

fn time(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn columns() -> String {
    [&ATTRIBUTES[..], &OTHERS[..]].concat().join(", ")
}
