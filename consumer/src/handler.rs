//! Async functions as handlers.

use std::future::Future;

use crate::call::Call;
use crate::extract::FromDelivery;
use crate::outcome::{IntoOutcome, Outcome};

/// An async function that handles events: its arguments are extractors ([`FromDelivery`]), at most eight, and it
/// returns an [`IntoOutcome`].
///
/// Implemented for such functions and closures; there is no need to implement it by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler for a router whose state is `{S}`",
    label = "not a handler",
    note = "a handler is an async function of at most eight extractors (`Event`, `Json<T>`, `Query<T>`, `Form<T>`, \
            `Bytes`, `State<S>`, `Attempt`, or your own `FromDelivery`)",
    note = "it returns `()`, `Outcome`, `Result<(), E>` or `Result<Outcome, E>`, and its future is `Send`"
)]
pub trait Handler<T, S>: Clone + Send + Sync + Sized + 'static {
    /// Makes the arguments and runs the function.
    fn call(self, call: Call, state: S) -> impl Future<Output = Outcome> + Send;
}

impl<F, Fut, R, S> Handler<(), S> for F
where
    F: FnOnce() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = R> + Send,
    R: IntoOutcome,
    S: Send,
{
    async fn call(self, _: Call, _: S) -> Outcome {
        self().await.into_outcome()
    }
}

macro_rules! handler_of {
    ($($argument:ident)+) => {
        impl<F, Fut, R, S, $($argument),+> Handler<($($argument,)+), S> for F
        where
            F: FnOnce($($argument),+) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + Send,
            R: IntoOutcome,
            S: Send + Sync,
            $($argument: FromDelivery<S> + Send,)+
        {
            #[allow(non_snake_case, reason = "each argument is named like its type parameter")]
            async fn call(self, call: Call, state: S) -> Outcome {
                $(
                    let $argument = match $argument::from_delivery(&call, &state).await {
                        Ok(argument) => argument,
                        Err(outcome) => return outcome,
                    };
                )+
                self($($argument),+).await.into_outcome()
            }
        }
    };
}

handler_of!(A1);
handler_of!(A1 A2);
handler_of!(A1 A2 A3);
handler_of!(A1 A2 A3 A4);
handler_of!(A1 A2 A3 A4 A5);
handler_of!(A1 A2 A3 A4 A5 A6);
handler_of!(A1 A2 A3 A4 A5 A6 A7);
handler_of!(A1 A2 A3 A4 A5 A6 A7 A8);
