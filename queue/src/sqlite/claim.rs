//! Taking events and keeping them: leases, in SQL.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::pass::Window;
use super::settle::Claimed;
use super::{millis, now_ms, wire};
use crate::Event;

/// How long a lease lasts that nobody extends.
const LEASE: Duration = Duration::from_secs(30);

/// An event that has just become ours.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) claimed: Claimed,
    pub(super) due: i64,
    pub(super) attempt: u32,
    pub(super) crashes: u32,
    pub(super) first_received: SystemTime,
    pub(super) bytes: usize,
    pub(super) event: Event,
}

/// How much may be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// What is to be done when, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Agenda {
    /// When the first waiting event is due.
    pub(super) due: Option<i64>,
    /// When the first lease lapses.
    pub(super) lapse: Option<i64>,
}

/// Takes what is due and not yet expired, the oldest first, as far as there is room. One that is larger than the room
/// is taken alone.
pub(super) fn claim(
    connection: &Connection,
    room: Room,
    ttl: Duration,
    window: Window,
) -> Result<Vec<Taken>, rusqlite::Error> {
    let (now, token) = (now_ms(), token());
    let find = "SELECT seq, attempt, crashes, bytes, coalesce(first_taken, ?1), due FROM deliveries
                WHERE lease IS NULL AND due BETWEEN max(?2, ?4) AND ?1 AND (due > ?4 OR seq > ?5) AND bytes <= ?6
                ORDER BY due, seq LIMIT ?3";
    let take = "UPDATE deliveries SET lease = ?2, lease_until = ?3, first_taken = coalesce(first_taken, ?4)
                WHERE seq = ?1";
    let (oldest, limit) = (now.saturating_sub(millis(ttl)), i64::try_from(room.events).unwrap_or(i64::MAX));
    let found: Vec<Candidate> = connection
        .prepare_cached(find)?
        .query_map([now, oldest, limit, window.after.0, window.after.1, window.most_bytes], |row| {
            candidate(row, token)
        })?
        .collect::<Result<_, _>>()?;

    let (mut left, until) = (room.bytes, now.saturating_add(millis(LEASE)));
    let mut taken = Vec::with_capacity(found.len());
    for candidate in found {
        if candidate.bytes > left && !taken.is_empty() {
            break;
        }
        left = left.saturating_sub(candidate.bytes);
        connection.prepare_cached(take)?.execute([candidate.claimed.seq, token, until, now])?;
        taken.push(candidate.with_event(connection)?);
    }
    Ok(taken)
}

/// Takes the oldest event whose lease lapsed. If its last holder had it alone, that holder's death is counted here, in
/// the same transaction as the new lease.
pub(super) fn claim_suspect(connection: &Connection) -> Result<Option<Taken>, rusqlite::Error> {
    let (now, token) = (now_ms(), token());
    let sql = "UPDATE deliveries SET lease = ?2, lease_until = ?3, crashes = crashes + alone, alone = 1
               WHERE seq = (SELECT seq FROM deliveries WHERE lease IS NOT NULL AND lease_until <= ?1
                            ORDER BY due, seq LIMIT 1)
               RETURNING seq, attempt, crashes, bytes, coalesce(first_taken, ?1), due";
    let candidate = connection
        .prepare_cached(sql)?
        .query_row([now, token, now.saturating_add(millis(LEASE))], |row| candidate(row, token))
        .optional()?;
    candidate.map(|candidate| candidate.with_event(connection)).transpose()
}

/// Keeps a lease for as long again. `false`: it was lost.
pub(super) fn extend(connection: &Connection, claimed: Claimed) -> Result<bool, rusqlite::Error> {
    let sql = "UPDATE deliveries SET lease_until = ?3 WHERE seq = ?1 AND lease = ?2";
    let until = now_ms().saturating_add(millis(LEASE));
    Ok(connection.prepare_cached(sql)?.execute([claimed.seq, claimed.token, until])? == 1)
}

/// What the file holds for later.
pub(super) fn agenda(connection: &Connection, window: Window) -> Result<Agenda, rusqlite::Error> {
    let sql = "SELECT (SELECT min(due) FROM deliveries
                       WHERE lease IS NULL AND due >= ?1 AND (due > ?1 OR seq > ?2) AND bytes <= ?3),
                      (SELECT min(lease_until) FROM deliveries WHERE lease IS NOT NULL)";
    let window = [window.after.0, window.after.1, window.most_bytes];
    connection.prepare_cached(sql)?.query_row(window, |row| Ok(Agenda { due: row.get(0)?, lapse: row.get(1)? }))
}

struct Candidate {
    claimed: Claimed,
    due: i64,
    attempt: u32,
    crashes: u32,
    bytes: usize,
    first_received: SystemTime,
}

impl Candidate {
    fn with_event(self, connection: &Connection) -> Result<Taken, rusqlite::Error> {
        let Candidate { claimed, due, attempt, crashes, bytes, first_received } = self;
        Ok(Taken { claimed, due, attempt, crashes, first_received, bytes, event: wire::read(connection, claimed.seq)? })
    }
}

fn candidate(row: &Row<'_>, token: i64) -> Result<Candidate, rusqlite::Error> {
    Ok(Candidate {
        claimed: Claimed { seq: row.get(0)?, token },
        attempt: row.get(1)?,
        crashes: row.get(2)?,
        bytes: usize::try_from(row.get::<_, i64>(3)?).unwrap_or(usize::MAX),
        first_received: UNIX_EPOCH + Duration::from_millis(u64::try_from(row.get::<_, i64>(4)?).unwrap_or(0)),
        due: row.get(5)?,
    })
}

/// A number that no other claim has had: the random half of a UUID, never 0.
fn token() -> i64 {
    let (_, random) = Uuid::now_v7().as_u64_pair();
    i64::try_from(random >> 1).unwrap_or(i64::MAX)
}
