//! Which handler gets which events.

use std::fmt;
use std::sync::Arc;

use tokio::sync::RwLock;
use tower::{Layer, Service, service_fn};
use webhook_queue::{BoxError, Event};

use crate::call::{Call, HandlerService};
use crate::error::Error;
use crate::handler::Handler;
use crate::outcome::IntoOutcome;
use crate::pattern::Pattern;

/// Handlers by `source/type` patterns, with a state of type `S` that they still miss.
///
/// The first `/` of a pattern splits source from type, and `*` matches any run of characters. Of the patterns that
/// match an event, the one with the most literal characters wins. A malformed pattern, and two that match the same
/// event equally well, are errors when the consumer starts; all of them are reported together.
///
/// Consumers of several queues can each have a clone. An event that is run alone, because its process died, is alone among
/// all of them.
#[derive(Clone)]
pub struct Router<S = ()> {
    entries: Vec<Entry<S>>,
    floor: Floor,
}

/// Every handler at work shares it; a suspect has it to itself.
pub(crate) type Floor = Arc<RwLock<()>>;

#[derive(Clone)]
struct Entry<S> {
    pattern: String,
    with_state: Arc<dyn Fn(S) -> HandlerService + Send + Sync>,
}

impl<S> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    /// A router without handlers.
    pub fn new() -> Router<S> {
        Router { entries: Vec::new(), floor: Floor::default() }
    }

    /// Handles the events that match `pattern` with `handler`, an async function. The pattern is also the handler's
    /// name in logs and dead letters.
    pub fn on<H, T>(mut self, pattern: &str, handler: H) -> Router<S>
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let with_state = move |state: S| {
            let handler = handler.clone();
            HandlerService::new(service_fn(move |call: Call| {
                let (handler, state) = (handler.clone(), state.clone());
                async move { Ok::<_, BoxError>(handler.call(call, state).await) }
            }))
        };
        self.entries.push(Entry { pattern: pattern.to_owned(), with_state: Arc::new(with_state) });
        self
    }

    /// Puts a tower layer around each handler added so far, outside of the layers already there.
    ///
    /// The layer is applied to every handler separately: a `ConcurrencyLimitLayer` limits each of them, a
    /// `GlobalConcurrencyLimitLayer` all together, those of the router's clones included. An error of the layer's service is
    /// a failed attempt. Only the handler is inside: the lease, the crash check and settling stay outside of every layer.
    pub fn layer<L>(mut self, layer: L) -> Router<S>
    where
        L: Layer<HandlerService> + Clone + Send + Sync + 'static,
        L::Service: Service<Call> + Clone + Send + Sync + 'static,
        <L::Service as Service<Call>>::Response: IntoOutcome + 'static,
        <L::Service as Service<Call>>::Error: Into<BoxError> + 'static,
        <L::Service as Service<Call>>::Future: Send + 'static,
    {
        let wrap = |entry: Entry<S>| {
            let layer = layer.clone();
            let with_state = move |state: S| HandlerService::new(layer.layer((entry.with_state)(state)));
            Entry { pattern: entry.pattern, with_state: Arc::new(with_state) }
        };
        self.entries = self.entries.into_iter().map(wrap).collect();
        self
    }

    /// Adds the handlers of another router.
    pub fn merge(mut self, other: Router<S>) -> Router<S> {
        self.entries.extend(other.entries);
        self
    }

    /// Gives the handlers added so far their state.
    pub fn with_state(self, state: S) -> Router {
        let give = |entry: Entry<S>| {
            let service = (entry.with_state)(state.clone());
            Entry { pattern: entry.pattern, with_state: Arc::new(move |()| service.clone()) }
        };
        Router { entries: self.entries.into_iter().map(give).collect(), floor: self.floor }
    }
}

impl Router {
    pub(crate) fn floor(&self) -> Floor {
        Arc::clone(&self.floor)
    }

    pub(crate) fn build(self) -> Result<Routes, Error> {
        let mut problems = Vec::new();
        let mut routes: Vec<Route> = Vec::new();
        for entry in self.entries {
            match Pattern::parse(&entry.pattern) {
                Ok(pattern) => {
                    let ties = routes.iter().filter(|route| route.pattern.ties_with(&pattern));
                    problems.extend(ties.map(|route| tie(&route.pattern, &pattern)));
                    routes.push(Route { pattern, service: (entry.with_state)(()) });
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Routes(routes)) } else { Err(Error::router(problems)) }
    }
}

fn tie(first: &Pattern, second: &Pattern) -> String {
    let (first, second) = (first.as_str(), second.as_str());
    if first == second {
        format!("the pattern '{first}' has two handlers")
    } else {
        format!("the patterns '{first}' and '{second}' match some events equally well")
    }
}

/// A router that was found to be sound.
pub(crate) struct Routes(Vec<Route>);

/// One handler.
pub(crate) struct Route {
    pub(crate) pattern: Pattern,
    pub(crate) service: HandlerService,
}

impl Routes {
    /// The handler for an event.
    pub(crate) fn find(&self, event: &Event) -> Option<&Route> {
        let matching = self.0.iter().filter(|route| route.pattern.matches(&event.source, &event.event_type));
        matching.max_by_key(|route| route.pattern.literals())
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Router<S> {
    fn default() -> Router<S> {
        Router::new()
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| &entry.pattern)).finish()
    }
}
