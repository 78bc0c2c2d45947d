//! Waiting for a condition, instead of sleeping and hoping; and nothing is waited for without an end.

use std::time::{Duration, Instant};

pub(crate) const PAUSE: Duration = Duration::from_millis(20);
/// Longer than any test waits on a slow machine: what is not there by then never comes.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// What `probe` finds, asked again every 20 ms.
///
/// # Panics
/// With `what`, when it has found nothing `within` this time.
pub async fn eventually<T>(what: &str, within: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// What comes of something that by its nature could take for ever.
///
/// # Panics
/// With `what`, when nothing has come of it after 240 s.
pub async fn in_time<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, wait).await {
        Ok(found) => found,
        Err(_) => panic!("not within {LIMIT:?}: {what}"),
    }
}
