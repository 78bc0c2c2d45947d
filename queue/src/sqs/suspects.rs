//! Suspects: each is run alone, with a note that it is.

use std::sync::Arc;

use super::keeper::Keeper;
use super::lease::Hold;
use crate::publish::PublishError;
use crate::subscribe::Delivery;

impl Keeper {
    /// The next suspect that is still ours, with a note that it is about to be run.
    pub(super) async fn next_suspect(self: &Arc<Keeper>) -> Option<Delivery> {
        while let Some(mut delivery) = self.inbox.take_suspect() {
            let Some(hold) = self.give(&delivery) else { continue };
            let id = &delivery.event.id;
            tracing::info!(event.id = id, "this event was in the hands of somebody who is gone; it runs alone");
            // In a task of its own: should this future be dropped, no note stays behind, neither written nor hidden.
            let keeper = Arc::clone(self);
            let begun = self.tasks.spawn_on(async move { keeper.begin(&hold).await }, &self.runtime);
            // It does not panic.
            delivery.crashes = begun.await.unwrap_or_default();
            return Some(delivery);
        }
        self.sweep();
        None
    }

    /// Finds out how many processes have died of it, and notes that it is about to be run.
    async fn begin(&self, hold: &Hold) -> u32 {
        let _turn = self.notes.turn().await;
        let crashes = match self.notes.crashes(&hold.taken.id, hold.received).await {
            Ok(crashes) => crashes,
            Err(error @ PublishError::Unroutable(_)) => {
                self.make_if_missing(self.notes.client(), &error).await;
                0
            }
            Err(error) => {
                tracing::warn!(%error, "it is not known how often a process has died of a suspect, which is run");
                return 0;
            }
        };
        // Before the note is written: whatever becomes of that, whoever ends this delivery has the note taken away.
        let _ = hold.crashes.set(crashes);
        if self.leases.is_held(hold.key)
            && let Err(error) = self.notes.write(&hold.taken.id, crashes.saturating_add(1)).await
        {
            tracing::warn!(%error, "a suspect is run, and a crash will not be counted");
        }
        crashes
    }

    /// Takes outdated notes away, in the background.
    pub(super) fn sweep(self: &Arc<Keeper>) {
        let keeper = Arc::clone(self);
        self.tasks.spawn_on(async move { keeper.notes.sweep().await }, &self.runtime);
    }
}
