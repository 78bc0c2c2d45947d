//! The hold on one delivery.

use std::sync::mpsc::Sender;

use tokio::sync::oneshot;

use super::keeper::Command;
use super::settle::Claimed;
use crate::{LeaseLost, Settlement};

/// The right to settle one delivery. Dropped unused, it hands the event back.
#[derive(Debug)]
pub(crate) struct Lease {
    /// `None` once it has been used.
    claimed: Option<Claimed>,
    keeper: Sender<Command>,
}

impl Lease {
    pub(super) fn new(claimed: Claimed, keeper: Sender<Command>) -> Lease {
        Lease { claimed: Some(claimed), keeper }
    }

    /// Returns once the settlement is committed, so that a crash afterwards brings nothing back.
    pub(crate) async fn settle(mut self, settlement: Settlement) -> Result<(), LeaseLost> {
        let claimed = self.claimed.take().ok_or(LeaseLost)?;
        let (answer, committed) = oneshot::channel();
        let command = Command::Settle(Pending { claimed, settlement, answer: Some(answer) });
        self.keeper.send(command).map_err(|_| LeaseLost)?;
        committed.await.unwrap_or(Err(LeaseLost))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(claimed) = self.claimed.take() {
            // A keeper that is gone has handed everything back itself.
            let _ =
                self.keeper.send(Command::Settle(Pending { claimed, settlement: Settlement::Release, answer: None }));
        }
    }
}

/// A settlement on its way to the file.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) claimed: Claimed,
    pub(super) settlement: Settlement,
    pub(super) answer: Option<oneshot::Sender<Result<(), LeaseLost>>>,
}
