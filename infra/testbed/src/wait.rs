//! Waiting for a condition, instead of sleeping and hoping.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

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
