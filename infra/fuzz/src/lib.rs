//! One input of the fuzzer: a request to one of the sources, perhaps signed as its provider would, goes through the
//! forwarder's service; its event goes through the wire of every queue. What must hold, whatever the input is, is in
//! `checks`; what an input looks like is in `README.md`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a broken promise ends the fuzzer with an input that shows it"
)]

mod checks;
mod draft;
mod input;
mod queue;
mod sign;
mod sns;
mod sources;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;
use webhook_forwarder::{Event, Forwarder};

use checks::Sent;
use input::{Input, Signing};
use queue::{Memory, Outcome};

pub use sources::sources;

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
}

/// Runs one input. Panics where something does not hold. Says which source's event was published, if one was.
pub fn run(bytes: &[u8]) -> Option<String> {
    if bytes.first() == Some(&b'{') {
        return run_lambda_event(bytes);
    }
    let Input { source, signing, way, spot, outcome, client, chunk, mut draft } = Input::read(bytes)?;
    webhook_queue::fuzzing::read_foreign(&draft.foreign_headers(), &Bytes::copy_from_slice(&draft.body));

    let proof = match signing {
        Signing::AsIs => None,
        Signing::Signed | Signing::Altered => Some(sign::sign(source, &mut draft, way)),
    };
    if let (Signing::Altered, Some(proof)) = (signing, &proof)
        && !proof.alter(&mut draft, spot)
    {
        return None;
    }
    let request = draft.request(source.name, client, chunk)?;
    let (answer, published) = answer(request, outcome);
    let sent = Sent { bytes, source, signing, draft: &draft, outcome, client };
    checks::answer(&sent, &answer, published.as_ref());
    let event = published?;
    checks::event(&sent, &event);
    checks::wires(&event);
    Some(event.source)
}

/// An input that is an event of AWS Lambda.
fn run_lambda_event(bytes: &[u8]) -> Option<String> {
    let request = webhook_forwarder::fuzzing::request_of_event(std::str::from_utf8(bytes).ok()?)?;
    let body = whole(request.body().clone());
    let (answer, published) = answer(request, Outcome::Confirmed);
    checks::status(&answer);
    let event = published?;
    assert_eq!(event.body, body, "the body was changed");
    checks::wires(&event);
    Some(event.source)
}

/// What the forwarder answers, and what it has published.
fn answer<B>(request: Request<B>, outcome: Outcome) -> (Response<Bytes>, Option<Event>)
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    let forwarder: Forwarder<Memory> = sources::forwarder();
    queue::begin(outcome);
    let response: Response<Full<Bytes>> = RUNTIME.with(|runtime| runtime.block_on(forwarder.oneshot(request))).unwrap();
    let (parts, body) = response.into_parts();
    (Response::from_parts(parts, whole(body)), queue::end())
}

fn whole(body: Full<Bytes>) -> Bytes {
    RUNTIME.with(|runtime| runtime.block_on(body.collect())).unwrap().to_bytes()
}
