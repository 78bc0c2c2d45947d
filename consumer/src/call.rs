//! What travels through an app's tower layers.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tower::Service;
use tower::util::BoxCloneSyncService;
use webhook_queue::{BoxError, Event};

use crate::outcome::{IntoOutcome, Outcome};

/// One run of a handler: the request of the `tower::Service` that a handler is.
#[derive(Clone, Debug)]
pub struct Call {
    event: Arc<Event>,
    attempt: u32,
}

impl Call {
    pub(crate) fn new(event: Arc<Event>, attempt: u32) -> Call {
        Call { event, attempt }
    }

    /// The event to handle.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Which delivery of the event this is, from 1 on.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// A handler with its state and the layers around it so far, as a `tower::Service`.
#[derive(Clone)]
pub struct HandlerService(BoxCloneSyncService<Call, Outcome, BoxError>);

impl HandlerService {
    pub(crate) fn new<V>(service: V) -> HandlerService
    where
        V: Service<Call> + Clone + Send + Sync + 'static,
        V::Response: IntoOutcome + 'static,
        V::Error: Into<BoxError> + 'static,
        V::Future: Send + 'static,
    {
        let service = tower::ServiceExt::map_response(service, IntoOutcome::into_outcome);
        HandlerService(BoxCloneSyncService::new(tower::ServiceExt::map_err(service, Into::into)))
    }
}

impl Service<Call> for HandlerService {
    type Response = Outcome;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        self.0.call(call)
    }
}

impl fmt::Debug for HandlerService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}
