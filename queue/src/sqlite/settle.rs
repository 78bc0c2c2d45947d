//! How a delivery ends, in SQL. Every statement asks for the token: whoever lost the lease changes nothing.

use rusqlite::{Connection, OptionalExtension};

use super::{dead_letters, millis, now_ms};
use crate::Settlement;

/// What proves that a delivery is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claimed {
    pub(super) seq: i64,
    pub(super) token: i64,
}

/// Settles, within the caller's transaction. `false`: the lease was lost and nothing was done.
pub(super) fn settle(
    connection: &Connection,
    claimed: Claimed,
    settlement: &Settlement,
) -> Result<bool, rusqlite::Error> {
    match settlement {
        Settlement::Ack => ack(connection, claimed),
        Settlement::Retry { after } => retry(connection, claimed, now_ms().saturating_add(millis(*after))),
        Settlement::Release => release(connection, claimed),
        Settlement::DeadLetter(letter) => match remove(connection, claimed)? {
            Some(attempts) => dead_letters::insert(connection, claimed.seq, attempts, letter).map(|()| true),
            None => Ok(false),
        },
    }
}

fn ack(connection: &Connection, claimed: Claimed) -> Result<bool, rusqlite::Error> {
    if remove(connection, claimed)?.is_none() {
        return Ok(false);
    }
    connection.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([claimed.seq])?;
    Ok(true)
}

/// Takes the delivery out and says which attempt it was.
fn remove(connection: &Connection, claimed: Claimed) -> Result<Option<u32>, rusqlite::Error> {
    connection
        .prepare_cached("DELETE FROM deliveries WHERE seq = ?1 AND lease = ?2 RETURNING attempt")?
        .query_row([claimed.seq, claimed.token], |row| row.get(0))
        .optional()
}

fn retry(connection: &Connection, claimed: Claimed, due: i64) -> Result<bool, rusqlite::Error> {
    let sql = "UPDATE deliveries SET lease = NULL, lease_until = NULL, alone = 0, attempt = attempt + 1, due = ?3
               WHERE seq = ?1 AND lease = ?2";
    Ok(connection.prepare_cached(sql)?.execute([claimed.seq, claimed.token, due])? == 1)
}

/// A suspect that was not run is as suspect as before, so its lease is made to have lapsed. 0 is nobody's token.
fn release(connection: &Connection, claimed: Claimed) -> Result<bool, rusqlite::Error> {
    let sql = "UPDATE deliveries SET lease = iif(alone, 0, NULL), lease_until = iif(alone, 0, NULL), alone = 0
               WHERE seq = ?1 AND lease = ?2";
    Ok(connection.prepare_cached(sql)?.execute([claimed.seq, claimed.token])? == 1)
}
