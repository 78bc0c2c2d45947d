//! One connection that publishes, and its channels.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation, Connection, ErrorKind, Event};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::transport::{DialError, Dialed, Dialer, Switch};
use super::wire::Message;
use super::{CALL_TIMEOUT, short};
use crate::BoxError;
use crate::moment::Moment;
use crate::publish::PublishError;

/// How many publishes one connection carries at once, one to a channel. lapin walks all channels for every frame, so
/// more of them make each of them slower.
const MAX_CHANNELS: usize = 128;
/// How long a peer may be silent while a publish waits before it is asked whether it is still there.
const SILENCE: Duration = Duration::from_millis(300);
/// How long it may then take to say so.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a peer may be silent before its connection is not even tried any more. It is asked something every few
/// seconds, so silence this long is a process that was frozen.
const TRUSTED_FOR: Duration = Duration::from_secs(10);
/// Channels that lapin and two questions need for themselves.
const RESERVED_CHANNELS: usize = 3;

/// One connection with its confirm channels.
///
/// A channel carries one publish at a time: only then can the broker's answers not be taken for somebody else's. It
/// goes back into the pool after a definite answer and is thrown away after anything else.
pub(super) struct Link {
    connection: Connection,
    switch: Switch,
    idle: Mutex<Vec<Channel>>,
    permits: Semaphore,
    size: u32,
    state: watch::Receiver<LinkState>,
    asking: AsyncMutex<()>,
}

/// What the connection itself has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    Open,
    /// The broker reads nothing more from us until an alarm is over.
    Blocked(String),
    Closed(String),
}

/// Why a publish over one link was not confirmed.
pub(super) enum LinkError {
    /// The connection is gone: worth another try on a new one, under the same id.
    Broken(BoxError),
    /// The answer, or its absence. Final.
    Answer(PublishError),
}

impl Link {
    pub(super) async fn open(dialer: &Dialer, name: &str) -> Result<Link, DialError> {
        let Dialed { connection, switch } = dialer.dial(name).await?;
        let state = watch_events(&connection);
        let most = usize::from(connection.configuration().channel_max()).saturating_sub(RESERVED_CHANNELS);
        let size = if most == 0 { MAX_CHANNELS } else { most.min(MAX_CHANNELS) };
        Ok(Link {
            connection,
            switch,
            idle: Mutex::default(),
            permits: Semaphore::new(size),
            size: u32::try_from(size).map_err(BoxError::from)?,
            state,
            asking: AsyncMutex::default(),
        })
    }

    /// Publishes one message and waits for the broker's answer.
    pub(super) async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        message: &Message,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        let frame_max = usize::try_from(self.connection.configuration().frame_max()).unwrap_or(usize::MAX);
        if frame_max > 0 && message.header_bytes() > frame_max {
            // The broker would end the connection, and with it every publish in flight.
            return Err(LinkError::Answer(PublishError::Refused(format!(
                "the event's headers do not fit into a frame of {frame_max} bytes"
            ))));
        }
        let mut state = self.state.clone();
        tokio::select! {
            biased;
            trouble = trouble(&mut state) => Err(trouble),
            outcome = self.publish_on_a_channel(exchange, routing_key, message) => outcome,
            () = tokio::time::sleep_until(deadline) => Err(LinkError::Answer(PublishError::TimedOut)),
        }
    }

    /// Returns when nobody is there any more, although the socket does not know: after a silence the peer does not even
    /// answer a question. A queue that is slow is something else: its broker answers.
    pub(super) async fn falls_silent(&self) -> LinkError {
        let began = Moment::now();
        loop {
            tokio::time::sleep(SILENCE).await;
            let _one_at_a_time = self.asking.lock().await;
            let silence = self.switch.silence().min(began.elapsed());
            if silence >= SILENCE && timeout(PATIENCE, self.ask()).await.is_err() {
                return LinkError::Broken("the connection is dead: nobody answers".into());
            }
        }
    }

    /// A question that every broker answers at once, if only by ending the connection.
    async fn ask(&self) {
        if let Ok(channel) = self.connection.create_channel().await {
            drop(channel.close(200, short("done")).await);
        }
    }

    /// Whether the peer was heard so recently that the connection is worth a try.
    pub(super) fn is_trusted(&self) -> bool {
        let heartbeat = Duration::from_secs(self.connection.configuration().heartbeat().into());
        self.switch.silence() <= TRUSTED_FOR.max(heartbeat)
    }

    async fn publish_on_a_channel(
        &self,
        exchange: &str,
        routing_key: &str,
        message: &Message,
    ) -> Result<(), LinkError> {
        let _permit = self.permits.acquire().await.map_err(|error| LinkError::Broken(error.into()))?;
        let pooled = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let channel = match pooled {
            Some(channel) => channel,
            None => self.open_channel().await?,
        };
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = message.properties.clone();
        let confirm = channel
            .basic_publish(short(exchange), short(routing_key), options, &message.body, properties)
            .await
            .map_err(|error| explain(&error, exchange))?;
        let confirmation = confirm.await.map_err(|error| explain(&error, exchange))?;
        let outcome = judge(confirmation, message, exchange, routing_key)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        outcome.map_err(LinkError::Answer)
    }

    async fn open_channel(&self) -> Result<Channel, LinkError> {
        let channel = self.connection.create_channel().await.map_err(|error| match error.kind() {
            ErrorKind::ChannelsLimitReached => {
                LinkError::Answer(PublishError::Refused("the broker allows no more channels".to_owned()))
            }
            _ => LinkError::Broken(error.into()),
        })?;
        let confirmed = channel.confirm_select(ConfirmSelectOptions::default()).await;
        confirmed.map(|()| channel).map_err(|error| LinkError::Broken(error.into()))
    }

    /// Asks the broker whether the exchange is there, so that readiness is known while nothing is published.
    pub(super) async fn probe(&self, exchange: &str) -> Result<(), ProbeError> {
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let question = async {
            let channel = self.connection.create_channel().await?;
            let answer = channel
                .exchange_declare(short(exchange), lapin::ExchangeKind::Direct, options, FieldTable::default())
                .await;
            if answer.is_ok() {
                channel.close(200, short("done")).await?;
            }
            answer
        };
        match timeout(CALL_TIMEOUT, question).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if missing(&error) => Err(ProbeError::Missing(format!("there is no exchange '{exchange}'"))),
            Ok(Err(error)) => Err(ProbeError::Dead(error.to_string())),
            Err(_) => Err(ProbeError::Dead(format!("no answer within {CALL_TIMEOUT:?}"))),
        }
    }

    pub(super) fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Returns when the connection is of no more use, and says why. Whoever cuts it need not wait until lapin has noticed.
    pub(super) async fn ended(&self) -> String {
        let mut state = self.state.clone();
        let closed = async {
            match state.wait_for(|state| matches!(state, LinkState::Closed(_))).await.as_deref() {
                Ok(LinkState::Closed(reason)) => reason.clone(),
                _ => "the connection is gone".to_owned(),
            }
        };
        tokio::select! {
            reason = closed => reason,
            () = self.switch.turned_off() => "the connection was dead".to_owned(),
        }
    }

    /// Ends the connection without asking the peer.
    pub(super) fn cut(&self) {
        self.switch.off();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.switch.is_off()
    }

    /// Waits for the publishes in flight and ends the connection; without asking, if the peer does not answer.
    pub(super) async fn close(&self) {
        let farewell = async {
            let _all = self.permits.acquire_many(self.size).await;
            self.permits.close();
            self.switch.leave(&self.connection).await
        };
        if timeout(CALL_TIMEOUT, farewell).await.is_err() {
            tracing::debug!("the broker did not answer the close of the publishing connection");
        }
        self.switch.off();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.switch.off();
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("state", &*self.state.borrow()).finish_non_exhaustive()
    }
}

/// What a probe found.
pub(super) enum ProbeError {
    /// The broker lives, but what we publish to does not exist.
    Missing(String),
    /// The connection is of no use.
    Dead(String),
}

/// Follows the connection's events. The task ends with the connection.
fn watch_events(connection: &Connection) -> watch::Receiver<LinkState> {
    let (sender, receiver) = watch::channel(LinkState::Open);
    let mut events = Box::pin(connection.events_listener());
    let status = connection.status().clone();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                // A channel's: the broker's no to one event, which whoever has the channel is told.
                Event::Error(_) if status.connected() => continue,
                Event::ConnectionBlocked(reason) => sender.send_replace(LinkState::Blocked(reason)),
                Event::ConnectionUnblocked => sender.send_replace(LinkState::Open),
                Event::Error(error) => {
                    sender.send_replace(LinkState::Closed(error.to_string()));
                    return;
                }
                _ => continue,
            };
        }
        sender.send_replace(LinkState::Closed("the connection was closed".to_owned()));
    });
    receiver
}

/// Waits until the connection is blocked or gone.
async fn trouble(state: &mut watch::Receiver<LinkState>) -> LinkError {
    let seen = state.wait_for(|state| *state != LinkState::Open).await.map(|state| state.clone());
    match seen {
        Ok(LinkState::Blocked(reason)) => LinkError::Answer(PublishError::Blocked(reason)),
        Ok(LinkState::Closed(reason)) => LinkError::Broken(reason.into()),
        Ok(LinkState::Open) | Err(_) => LinkError::Broken("the connection is gone".into()),
    }
}

/// What the broker's answer means. The outer error is one after which the channel is not to be trusted.
fn judge(
    confirmation: Confirmation,
    message: &Message,
    exchange: &str,
    routing_key: &str,
) -> Result<Result<(), PublishError>, LinkError> {
    match confirmation {
        Confirmation::Ack(None) => Ok(Ok(())),
        Confirmation::Ack(Some(returned))
            if returned.delivery.properties.message_id() != message.properties.message_id() =>
        {
            Err(LinkError::Broken("the broker returned a message that is not the one published".into()))
        }
        Confirmation::Ack(Some(_)) => Ok(Err(PublishError::Unroutable(format!(
            "no queue is bound to exchange '{exchange}' with routing key '{routing_key}'"
        )))),
        Confirmation::Nack(_) => Ok(Err(PublishError::Refused("the broker said no (is the queue full?)".to_owned()))),
        Confirmation::NotRequested => Err(LinkError::Broken("the channel does not confirm".into())),
    }
}

/// What an error of one publish means for its event.
fn explain(error: &lapin::Error, exchange: &str) -> LinkError {
    let answer = match amqp_kind(error) {
        Some(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)) => {
            PublishError::Unroutable(format!("there is no exchange '{exchange}'"))
        }
        Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) => {
            PublishError::Refused(format!("the user may not write to exchange '{exchange}'"))
        }
        Some(AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)) if error.to_string().contains("larger than") => {
            PublishError::TooLarge { limit: super::publish::MAX_BODY_BYTES }
        }
        Some(AMQPErrorKind::Hard(AMQPHardError::RESOURCEERROR)) => {
            PublishError::Refused("the broker is out of resources".to_owned())
        }
        _ => return LinkError::Broken(error.clone().into()),
    };
    LinkError::Answer(answer)
}

/// Whether the broker said that something does not exist.
pub(super) fn missing(error: &lapin::Error) -> bool {
    matches!(amqp_kind(error), Some(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)))
}

fn amqp_kind(error: &lapin::Error) -> Option<&AMQPErrorKind> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.kind()),
        _ => None,
    }
}
