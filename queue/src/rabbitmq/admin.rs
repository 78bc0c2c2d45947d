//! `setup` and `check`.

use lapin::Connection;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

use super::topology::{self, Mode, count};
use super::transport::{DialError, Dialer};
use crate::BoxError;
use crate::admin::{Level, Report};
use crate::broker::{Client, done, look_closer, note_dead_letters, note_missing, note_vanishing_perhaps};
use crate::config::{QueueConfig, QueueType};
use crate::http_client::client_config;
use crate::publish_url::HostAndPort;
use crate::topology::Topology;

/// Declares exchange, queue and binding.
pub(crate) async fn setup(config: &QueueConfig) -> Result<Vec<String>, BoxError> {
    let topology = Topology::new(config);
    let dialer = Dialer::new(config)?;
    let dialed = dialer.dial("webhook-forwarder setup").await?;
    let declared = async {
        let mut mismatches = topology::intake(&dialed.connection, &topology, Mode::Declare).await?;
        mismatches.extend(topology::bind(&dialed.connection, &topology).await?);
        Ok::<_, BoxError>(mismatches)
    };
    let mismatches = declared.await;
    dialed.close().await;
    if let Some(mismatch) = mismatches?.into_iter().next() {
        return Err(format!("'{}' exists, and is not as configured: {}", mismatch.name, mismatch.reason).into());
    }
    Ok(done(&topology))
}

/// Looks at everything that could lose an event.
pub(crate) async fn check(config: &QueueConfig) -> Report {
    let mut report = Report::default();
    let dialed = match Dialer::new(config) {
        Ok(dialer) => dialer.dial("webhook-forwarder check").await,
        Err(error) => Err(DialError::Unreachable(error.into())),
    };
    match dialed {
        Err(error) => report.note(Level::Failure, format!("not reachable: {error}"), None),
        Ok(dialed) => {
            report.note(Level::Good, format!("reachable: {}", config.url.redacted()), None);
            if let Err(error) = look(&mut report, config, &dialed.connection).await {
                report.note(Level::Failure, format!("the check could not be finished: {error}"), None);
            }
            dialed.close().await;
        }
    }
    report
}

async fn look(report: &mut Report, config: &QueueConfig, connection: &Connection) -> Result<(), BoxError> {
    let topology = Topology::new(config);
    let missing = topology::intake(connection, &topology, Mode::Verify).await?;
    for mismatch in &missing {
        note_missing(report, &mismatch.name, &mismatch.reason);
    }
    if !missing.is_empty() {
        return Ok(());
    }
    report.note(Level::Good, format!("exchange '{}' and queue '{}' exist", topology.exchange, topology.queue), None);
    match &config.management_url {
        Some(url) => {
            let client = management(url, config)?;
            look_closer(report, &client, &vhost(connection), &topology).await?;
        }
        None => look_through_amqp(report, connection, &topology).await?,
    }
    let waiting = count(connection, &topology.dead_queue()).await?.unwrap_or(0);
    note_dead_letters(report, &topology, waiting.into());
    Ok(())
}

/// Declaring what exists changes nothing, and the broker says which argument differs.
async fn look_through_amqp(report: &mut Report, connection: &Connection, topology: &Topology) -> Result<(), BoxError> {
    let mismatches = topology::intake(connection, topology, Mode::Declare).await?;
    for mismatch in &mismatches {
        report.note(Level::Warning, format!("'{}' is not as configured: {}", mismatch.name, mismatch.reason), None);
    }
    if mismatches.is_empty() {
        report.note(Level::Good, "durable, with the configured TTL", None);
        if topology.queue_type == QueueType::Classic {
            note_vanishing_perhaps(report, topology, &vhost(connection));
        }
    }
    let hint = Some("set QUEUE_MANAGEMENT_URL to https://user:password@host and check again".to_owned());
    let unseen = "binding, policies (dead-letter target, length limit, overflow) and alarms: AMQP does not show them";
    report.note(Level::Unchecked, unseen, hint);
    Ok(())
}

fn vhost(connection: &Connection) -> String {
    connection.status().vhost().as_str().to_owned()
}

/// The client for `https://user:password@host:port`.
fn management(url: &SecretString, config: &QueueConfig) -> Result<Client, BoxError> {
    let form = "QUEUE_MANAGEMENT_URL must be like https://user:password@host:port";
    let (scheme, rest) = url.expose_secret().split_once("://").ok_or(form)?;
    let (login, host) = rest.trim_end_matches('/').rsplit_once('@').ok_or(form)?;
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let tls = (scheme == "https").then(|| client_config(config.ca_file.as_deref())).transpose()?;
    Client::new(&HostAndPort::parse(host).ok_or(form)?, tls, &decode(user), &decode(password).into(), 1)
}
