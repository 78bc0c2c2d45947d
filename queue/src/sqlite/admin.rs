//! `setup` and `check`.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::store::{self, Store, StoreError};
use super::{file, now_ms, schema};
use crate::env::written;
use crate::{BoxError, Level, QueueConfig, Report, chain};

/// Makes the file.
pub(crate) async fn setup(_: &QueueConfig, path: &Path) -> Result<Vec<String>, BoxError> {
    let path = store::checked_path(path)?;
    tokio::task::spawn_blocking(move || {
        let existed = path.exists();
        Store::create(&path, None)?;
        let what = if existed { "is there already" } else { "made" };
        Ok(vec![format!("file {}: {what}", path.display())])
    })
    .await?
}

/// Looks at the file.
pub(crate) async fn check(config: &QueueConfig, path: &Path) -> Report {
    let mut report = Report::default();
    let path = match store::checked_path(path) {
        Ok(path) => path,
        Err(error) => {
            report.note(Level::Failure, error.to_string(), None);
            return report;
        }
    };
    let ttl = config.ttl;
    let looked = tokio::task::spawn_blocking(move || {
        let mut report = Report::default();
        if let Err(error) = look(&mut report, &path, ttl) {
            let mend = matches!(error, StoreError::Missing).then(|| "webhook-forwarder setup".to_owned());
            report.note(Level::Failure, format!("file {}: {}", path.display(), chain(&error)), mend);
        }
        report
    });
    match looked.await {
        Ok(found) => found,
        Err(error) => {
            report.note(Level::Failure, format!("the check itself failed: {error}"), None);
            report
        }
    }
}

fn look(report: &mut Report, path: &Path, ttl: Duration) -> Result<(), StoreError> {
    let store = Store::read(path)?;
    let connection = store.connection();
    let version = schema::version(connection)?;
    report.note(Level::Good, format!("file {}: can be opened, schema version {version}", path.display()), None);

    let integrity: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    match integrity.as_str() {
        "ok" => report.note(Level::Good, "integrity: ok", None),
        damage => report.note(
            Level::Failure,
            format!("integrity: {damage}"),
            Some(format!("sqlite3 {} .recover, into a new file", path.display())),
        ),
    }
    counts(report, connection, ttl)?;

    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bytes = size(path) + size(&file::log_path(path));
    report.note(Level::Good, format!("disk: {} used", bytesize::ByteSize(bytes)), None);
    report.note(Level::Unchecked, "disk: how much is left cannot be seen from here", None);
    Ok(())
}

fn counts(report: &mut Report, connection: &Connection, ttl: Duration) -> Result<(), StoreError> {
    let sql = "SELECT count(*) FILTER (WHERE lease IS NULL), count(*) FILTER (WHERE lease_until > ?1),
                      count(*) FILTER (WHERE lease_until <= ?1), min(due) FILTER (WHERE lease IS NULL) FROM deliveries";
    let now = now_ms();
    let (waiting, held, suspect, oldest): (i64, i64, i64, Option<i64>) =
        connection.query_row(sql, [now], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    report.note(Level::Good, format!("events: {waiting} waiting, {held} held, {suspect} suspect"), None);

    let age = Duration::from_secs(u64::try_from(oldest.map_or(0, |due| now.saturating_sub(due)) / 1000).unwrap_or(0));
    if age > ttl / 2 {
        let what = format!(
            "age: the oldest event has waited for {}; events become dead letters after QUEUE_TTL ({})",
            written(age),
            written(ttl)
        );
        report.note(Level::Warning, what, Some("start a consumer".to_owned()));
    } else {
        report.note(Level::Good, format!("age: the oldest event has waited for {}", written(age)), None);
    }
    let dead: i64 = connection.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get(0))?;
    let mend = (dead > 0).then(|| "mend what failed, then replay them from the consumer".to_owned());
    report.note(if dead > 0 { Level::Warning } else { Level::Good }, format!("dead letters: {dead}"), mend);
    Ok(())
}
