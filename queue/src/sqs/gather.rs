//! What many ask for at the same time travels in few requests. The first goes at once; while as many requests are under way
//! as there may be, what comes next gathers for a larger one. So nobody waits for company, and a load is carried.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};

use super::MAX_MESSAGE_BYTES;
use super::client::Client;
use super::take::BATCH;

/// How many requests, and so connections, there are at a time.
const AT_ONCE: usize = 16;

/// What may share a request with others of its kind.
pub(super) trait Entry: Sized + Send + 'static {
    type Answer: Send + 'static;

    /// What it takes of the bytes that SQS allows in a request.
    fn bytes(&self) -> usize;

    /// Makes a request of these, and answers each of them.
    fn carry(client: &Client, batch: Vec<Asked<Self>>) -> impl Future<Output = ()> + Send;
}

/// An entry, and who waits for its answer.
#[derive(Debug)]
pub(super) struct Asked<E: Entry> {
    pub(super) entry: E,
    answer: oneshot::Sender<E::Answer>,
}

/// A way to the task that gathers. The task ends with this value.
#[derive(Debug)]
pub(super) struct Gather<E: Entry> {
    asked: UnboundedSender<Asked<E>>,
}

impl<E: Entry> Asked<E> {
    /// Whether nobody waits any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }

    pub(super) fn answer(self, answer: E::Answer) {
        // Whoever asked may have gone.
        let _ = self.answer.send(answer);
    }
}

impl<E: Entry> Gather<E> {
    /// Starts the task.
    pub(super) fn start(client: Client) -> Gather<E> {
        let (asked, asking) = unbounded_channel();
        tokio::spawn(gather(client, asking));
        Gather { asked }
    }

    /// Nothing limits how many wait here: whoever asks does. `None` means that the task has ended without an answer.
    pub(super) async fn ask(&self, entry: E) -> Option<E::Answer> {
        let (answer, answered) = oneshot::channel();
        self.asked.send(Asked { entry, answer }).ok()?;
        answered.await.ok()
    }
}

async fn gather<E: Entry>(client: Client, mut asking: UnboundedReceiver<Asked<E>>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut next = None;
    // Never closed, so never an error.
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        if next.is_none() {
            next = asking.recv().await;
        }
        let Some(first) = next.take() else { return };
        let batch;
        (batch, next) = fill(first, &mut asking);
        let client = client.clone();
        tokio::spawn(async move {
            E::carry(&client, batch).await;
            drop(permit);
        });
    }
}

/// What waits, as far as it fits into one request, and the first that does not.
fn fill<E: Entry>(first: Asked<E>, asking: &mut UnboundedReceiver<Asked<E>>) -> (Vec<Asked<E>>, Option<Asked<E>>) {
    let mut bytes = first.entry.bytes();
    let mut batch = vec![first];
    while batch.len() < BATCH
        && let Ok(asked) = asking.try_recv()
    {
        bytes = bytes.saturating_add(asked.entry.bytes());
        if bytes > MAX_MESSAGE_BYTES {
            return (batch, Some(asked));
        }
        batch.push(asked);
    }
    (batch, None)
}
