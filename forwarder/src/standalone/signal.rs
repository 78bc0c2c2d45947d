//! The signals that ask a process to end.

use std::future::Future;
use std::io;

/// Ends at the first SIGTERM or SIGINT (elsewhere than on Unix: Ctrl-C): what [`serve`](crate::serve) is to wait for.
///
/// From this call on, before the future is polled, these signals end the process no more by themselves.
///
/// # Panics
/// Outside of a tokio runtime.
#[cfg(unix)]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
#[expect(missing_docs, reason = "they are the other one's")]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
}
