//! The tables, and how a file of an older version becomes one of this version.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::store::StoreError;

/// `PRAGMA application_id`: tells our files from other people's.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"whqu");
/// One script for each version; `PRAGMA user_version` says how many of them a file has had. A released script never
/// changes: the next version is one more script.
const MIGRATIONS: [&str; 2] = [VERSION_1, VERSION_2];
/// The version that this program reads and writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Times in `deliveries` and `dead_letters` are milliseconds since 1970, `events.received` is microseconds.
const VERSION_1: &str = "
-- What was published. Rows never change.
CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    specversion TEXT NOT NULL,
    id          TEXT NOT NULL,
    source      TEXT NOT NULL,
    type        TEXT NOT NULL,
    time        TEXT NOT NULL,
    subject     TEXT,
    tenant      TEXT,
    idorigin    TEXT NOT NULL,
    verified    TEXT NOT NULL,
    httpmethod  TEXT NOT NULL,
    httppath    TEXT NOT NULL,
    httpquery   TEXT NOT NULL,
    httpclient  TEXT,
    httpheaders TEXT NOT NULL,
    traceparent TEXT,
    tracestate  TEXT,
    received    INTEGER NOT NULL,
    body        BLOB NOT NULL
) STRICT;

-- Events that wait or are held.
CREATE TABLE deliveries (
    seq         INTEGER PRIMARY KEY REFERENCES events (seq),
    due         INTEGER NOT NULL,           -- not before
    attempt     INTEGER NOT NULL DEFAULT 1, -- of the next or the running delivery
    bytes       INTEGER NOT NULL,           -- of the body
    lease       INTEGER,                    -- the holder's token; NULL: waiting; lapsed: suspect
    lease_until INTEGER,
    alone       INTEGER NOT NULL DEFAULT 0, -- 1 while held as a suspect
    crashes     INTEGER NOT NULL DEFAULT 0, -- how often such a lease lapsed
    first_taken INTEGER                     -- when a consumer first received it
) STRICT;
CREATE INDEX deliveries_waiting ON deliveries (due) WHERE lease IS NULL;
CREATE INDEX deliveries_held ON deliveries (lease_until) WHERE lease IS NOT NULL;

-- Events that nobody receives any more.
CREATE TABLE dead_letters (
    number   INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: a replay ends at the last there was
    seq      INTEGER NOT NULL UNIQUE REFERENCES events (seq),
    reason   TEXT NOT NULL,
    error    TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    handler  TEXT,
    at       INTEGER NOT NULL
) STRICT;
";

const VERSION_2: &str = "
-- Which queue took the event; NULL: the first.
ALTER TABLE events ADD COLUMN rung TEXT;
";

/// Brings the file to this version: makes the tables in an empty one.
pub(super) fn create_or_migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let version = version(connection)?;
    if version == 0 {
        // Takes effect only before the first table, and before the log is made.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    if version == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    migrate(&transaction)?;
    transaction.commit()?;
    Ok(())
}

fn migrate(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let version = version(transaction)?;
    for script in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(script)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(())
}

/// The version of a file that is ours, 0 for an empty one.
pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    if application != i64::from(APPLICATION_ID) && !(version == 0 && is_empty(connection)?) {
        return Err(StoreError::Foreign);
    }
    if version > VERSION {
        return Err(StoreError::Newer { found: version });
    }
    Ok(version)
}

fn is_empty(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}
