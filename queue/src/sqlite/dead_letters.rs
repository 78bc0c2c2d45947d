//! Events that nobody receives any more, with the reason; and the way back.

use std::time::Duration;

use rusqlite::Connection;

use super::{millis, now_ms};
use crate::env::written;
use crate::{DeadLetter, Reason};

/// How much of an error text is kept.
const ERROR_BYTES: usize = 4096;
/// How many events one transaction moves.
const BATCH: usize = 500;

/// Files the event, whose delivery the caller has removed, among the dead letters.
pub(super) fn insert(
    connection: &Connection,
    seq: i64,
    attempts: u32,
    letter: &DeadLetter,
) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO dead_letters (seq, reason, error, attempts, handler, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let error = &letter.error[..letter.error.floor_char_boundary(ERROR_BYTES)];
    connection.prepare_cached(sql)?.execute((
        seq,
        letter.reason.as_str(),
        error,
        attempts,
        &letter.handler,
        now_ms(),
    ))?;
    Ok(())
}

/// Makes dead letters of events that were due for longer than `ttl` without being taken. Says how many, up to one
/// batch.
pub(super) fn expire(connection: &Connection, ttl: Duration) -> Result<usize, rusqlite::Error> {
    let overdue = now_ms().saturating_sub(millis(ttl));
    let sql = "DELETE FROM deliveries WHERE seq IN
                   (SELECT seq FROM deliveries WHERE lease IS NULL AND due < ?1 ORDER BY due, seq LIMIT ?2)
               RETURNING seq, attempt";
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let expired: Vec<(i64, u32)> =
        statement.query_map([overdue, limit], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let error = format!("nobody took it for {}", written(ttl));
    let letter = DeadLetter { reason: Reason::Expired, error, handler: None };
    for (seq, attempt) in &expired {
        // The delivery that did not take place is no attempt.
        insert(connection, *seq, attempt.saturating_sub(1), &letter)?;
    }
    Ok(expired.len())
}

/// The number of the youngest dead letter.
pub(super) fn last(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.query_row("SELECT coalesce(max(number), 0) FROM dead_letters", [], |row| row.get(0))
}

/// Puts up to `most` dead letters, and no more than one batch, back on the queue: the oldest first, and none after
/// number `last`. Says how many.
pub(super) fn replay(connection: &Connection, most: usize, last: i64) -> Result<usize, rusqlite::Error> {
    let limit = i64::try_from(most.min(BATCH)).unwrap_or(i64::MAX);
    let sql = "DELETE FROM dead_letters WHERE number IN
                   (SELECT number FROM dead_letters WHERE number <= ?2 ORDER BY number LIMIT ?1)
               RETURNING number, seq";
    let mut statement = connection.prepare_cached(sql)?;
    let mut moved: Vec<(i64, i64)> =
        statement.query_map([limit, last], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    moved.sort_unstable();
    let sql = "INSERT INTO deliveries (seq, due, bytes) SELECT seq, ?2, length(body) FROM events WHERE seq = ?1";
    for (_, seq) in &moved {
        connection.prepare_cached(sql)?.execute([*seq, now_ms()])?;
    }
    Ok(moved.len())
}
