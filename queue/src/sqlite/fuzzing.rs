//! The fuzzer's door to this wire.

use std::cell::RefCell;

use rusqlite::{Connection, TransactionBehavior};

use super::schema;
use super::wire::{self, EventRow};
use crate::BoxError;
use crate::event::Event;

thread_local! {
    static DATABASE: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// The event, read from its row of a database in memory. The row is not kept.
pub(crate) fn round_trip(event: &Event) -> Result<Event, BoxError> {
    DATABASE.with_borrow_mut(|database| {
        let connection = match database {
            Some(connection) => connection,
            None => {
                let mut connection = Connection::open_in_memory()?;
                schema::create_or_migrate(&mut connection)?;
                database.insert(connection)
            }
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seq = EventRow::new(event).insert(&transaction)?;
        Ok(wire::read(&transaction, seq)?)
    })
}
