//! All variables of the forwarder: its own are read here, `QUEUE_*` by `webhook_queue`, `SOURCE_*` by [`crate::sources`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use webhook_queue::{ConfigError, Env, QueueConfig, Role, duration, size};

use crate::host::{AZURE_PORT, Host};
use crate::sources::{AddressList, Sources};

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_MAX_BODY_BYTES: usize = 6 * 1024 * 1024;
const DEFAULT_MAX_IN_FLIGHT: usize = 1024;
const DEFAULT_MAX_IN_FLIGHT_BYTES: usize = 64 * 1024 * 1024;
const DEFAULT_PUBLISH_TIMEOUT: Duration = Duration::from_millis(2500);
const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Room for the largest head that is answered by the service itself, which tells 414 and 431 apart. Where connections are
/// ours to hold, each may take as much without having proved anything.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// No provider waits longer, and clocks do not overflow.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// Everything the forwarder is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ForwarderConfig {
    /// Where the program runs, by the variables that the platforms set.
    pub host: Host,
    /// `LISTEN`, with its port replaced by `PORT` where that is set. On Azure `FUNCTIONS_CUSTOMHANDLER_PORT` on
    /// 127.0.0.1; on Lambda nothing is listened to.
    pub listen: SocketAddr,
    /// `TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed.
    pub trusted_proxies: AddressList,
    /// `MAX_BODY_BYTES`: a longer body is answered 413.
    pub max_body_bytes: usize,
    /// `MAX_IN_FLIGHT`: requests admitted at a time, and connections held by the standalone host. Except on Lambda, at most one
    /// for each 64 KiB of `MAX_IN_FLIGHT_BYTES`.
    pub max_in_flight: usize,
    /// `MAX_IN_FLIGHT_BYTES`: the bodies of all admitted requests together.
    pub max_in_flight_bytes: usize,
    /// `PUBLISH_TIMEOUT`: from the last byte of the body to the answer.
    pub publish_timeout: Duration,
    /// `READ_TIMEOUT`: from the first byte of a request to the last of its body.
    pub read_timeout: Duration,
    /// `QUEUE_*`: where to publish. For [`Publisher::open`](crate::Publisher::open).
    pub queue: QueueConfig,
    pub(crate) sources: Sources,
}

impl ForwarderConfig {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// If a variable is wrong, missing or unknown. The error names all of them.
    pub fn from_env() -> Result<ForwarderConfig, ConfigError> {
        ForwarderConfig::with_env(Env::from_process())
    }

    /// As [`from_env`](ForwarderConfig::from_env), from an environment made by hand. Problems that were noted in it before
    /// are part of the error.
    pub fn with_env(mut env: Env) -> Result<ForwarderConfig, ConfigError> {
        let config = ForwarderConfig::read(&mut env);
        env.finish().map(|()| config)
    }

    /// Only `QUEUE_*`, for a command that serves nothing and so needs no source. `LISTEN` and `PORT` decide what an unset
    /// `QUEUE_URL` means.
    pub fn queue_with_env(mut env: Env) -> Result<QueueConfig, ConfigError> {
        let host = Host::detect(&env);
        let listen = read_listen(&mut env, host);
        let queue = QueueConfig::from_env(&mut env, role(host, listen));
        env.finish().map(|()| queue)
    }

    /// Tells where webhooks are received.
    pub(crate) fn log_sources(&self) {
        for source in self.sources.iter() {
            let (name, scheme, protection) = (&source.name, source.scheme(), source.protection());
            tracing::info!(
                source.name = name,
                source.scheme = scheme,
                protection,
                "receiving at /webhooks/{name}: {protection}"
            );
        }
    }

    fn read(env: &mut Env) -> ForwarderConfig {
        let host = Host::detect(env);
        host.refuse_useless(env);
        let listen = read_listen(env, host);
        let config = ForwarderConfig {
            host,
            listen,
            trusted_proxies: env.parsed("TRUSTED_PROXIES", AddressList::default(), AddressList::parse),
            max_body_bytes: env.parsed("MAX_BODY_BYTES", DEFAULT_MAX_BODY_BYTES, size),
            max_in_flight: env.parsed("MAX_IN_FLIGHT", DEFAULT_MAX_IN_FLIGHT, count),
            max_in_flight_bytes: env.parsed("MAX_IN_FLIGHT_BYTES", DEFAULT_MAX_IN_FLIGHT_BYTES, size),
            publish_timeout: env.parsed("PUBLISH_TIMEOUT", DEFAULT_PUBLISH_TIMEOUT, timeout),
            read_timeout: env.parsed("READ_TIMEOUT", DEFAULT_READ_TIMEOUT, timeout),
            sources: Sources::from_env(env),
            queue: QueueConfig::from_env(env, role(host, listen)),
        };
        let largest = crate::admission::largest_body(config.max_in_flight, config.max_in_flight_bytes);
        if config.max_body_bytes > largest {
            env.problem(
                "MAX_BODY_BYTES",
                format!(
                    "is {}, but MAX_IN_FLIGHT_BYTES leaves room for {largest}: raise that, or lower this",
                    config.max_body_bytes
                ),
            );
        }
        let most_heads = (config.max_in_flight_bytes / MAX_HEAD_BYTES).max(1);
        if host != Host::Lambda && config.max_in_flight > most_heads {
            env.problem(
                "MAX_IN_FLIGHT",
                format!(
                    "is {}, but MAX_IN_FLIGHT_BYTES leaves room for the headers of {most_heads}: raise that, or lower this",
                    config.max_in_flight
                ),
            );
        }
        config
    }
}

/// What an unset `QUEUE_URL` means: the embedded queue, but only while nobody else can connect.
fn role(host: Host, listen: SocketAddr) -> Role {
    match host {
        Host::Lambda | Host::Azure => Role::Function,
        Host::Standalone if listen.ip().to_canonical().is_loopback() => Role::LocalForwarder,
        Host::Standalone => Role::Forwarder,
    }
}

fn read_listen(env: &mut Env, host: Host) -> SocketAddr {
    let mut listen = DEFAULT_LISTEN;
    let port = match host {
        Host::Lambda => return listen,
        Host::Azure => AZURE_PORT,
        Host::Standalone => {
            listen = env.parsed("LISTEN", listen, |text| {
                text.parse()
                    .map_err(|_| format!("'{text}' is not an address and port, like 127.0.0.1:8080 or [::]:8080"))
            });
            "PORT"
        }
    };
    listen
        .set_port(env.parsed(port, listen.port(), |text| text.parse().map_err(|_| format!("'{text}' is not a port"))));
    listen
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse::<u32>() {
        Ok(count) if count > 0 => Ok(count as usize),
        _ => Err(format!("'{text}' is not a number of requests, like {DEFAULT_MAX_IN_FLIGHT}")),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|timeout| {
        if timeout <= MAX_TIMEOUT { Ok(timeout) } else { Err(format!("'{text}' is too long: the most is 1h")) }
    })
}

#[cfg(test)]
mod tests {
    use webhook_queue::QueueUrl;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ForwarderConfig, String> {
        let open = [("SOURCE_DEMO_OPEN", "yes")];
        let env = Env::from_pairs(pairs.iter().copied().chain(open));
        ForwarderConfig::with_env(env).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = read(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!((config.max_body_bytes, config.max_in_flight), (6_291_456, 1024));
        assert_eq!(config.max_in_flight_bytes, 67_108_864);
        assert_eq!((config.publish_timeout.as_millis(), config.read_timeout.as_secs()), (2500, 10));
    }

    #[test]
    fn port_wins_over_the_port_of_listen() {
        assert_eq!(read(&[("LISTEN", "[::1]:1"), ("PORT", "8081")]).unwrap().listen.to_string(), "[::1]:8081");
        assert!(read(&[("PORT", "http")]).unwrap_err().contains("PORT: 'http' is not a port"));
    }

    #[test]
    fn only_loopback_gets_the_embedded_queue() {
        assert!(matches!(read(&[]).unwrap().queue.url, QueueUrl::Sqlite(_)));
        assert!(matches!(read(&[("LISTEN", "[::1]:1")]).unwrap().queue.url, QueueUrl::Sqlite(_)));
        assert!(read(&[("LISTEN", "0.0.0.0:1")]).unwrap_err().contains("QUEUE_URL: is not set"));
        assert!(read(&[("LISTEN", "0.0.0.0:1"), ("QUEUE_URL", "sqlite:x.db")]).is_ok());
    }

    #[cfg(feature = "rabbitmq")]
    #[test]
    fn a_function_has_its_port_from_azure_and_needs_a_queue_elsewhere() {
        const QUEUE: (&str, &str) = ("QUEUE_URL", "amqps://u:p@host/v");
        const AZURE: (&str, &str) = ("FUNCTIONS_CUSTOMHANDLER_PORT", "8081");
        const LAMBDA: (&str, &str) = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
        let azure = read(&[QUEUE, AZURE, ("PORT", "80")]).unwrap();
        assert_eq!((azure.host, azure.listen.to_string().as_str()), (Host::Azure, "127.0.0.1:8081"));
        assert_eq!(read(&[QUEUE, LAMBDA, ("PORT", "80")]).unwrap().host, Host::Lambda);
        for platform in [AZURE, LAMBDA] {
            assert!(read(&[platform]).unwrap_err().contains("QUEUE_URL: is not set: a function has no disk"));
            assert!(
                read(&[platform, ("QUEUE_URL", "sqlite:x.db")]).unwrap_err().contains("QUEUE_URL: is a sqlite: queue")
            );
            assert!(
                read(&[platform, QUEUE, ("LISTEN", "[::]:1")]).unwrap_err().starts_with("LISTEN: has no effect on A")
            );
            let error = read(&[platform, QUEUE, ("TRUSTED_PROXIES", "10.0.0.1")]).unwrap_err();
            assert!(error.starts_with("TRUSTED_PROXIES: has no effect on A"), "{error}");
        }
        assert!(read(&[QUEUE, ("FUNCTIONS_CUSTOMHANDLER_PORT", "x")]).unwrap_err().contains("'x' is not a port"));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(read(&[("MAX_IN_FLIGHT", "0")]).unwrap_err().contains("MAX_IN_FLIGHT: '0' is not a number"));
        assert!(read(&[("READ_TIMEOUT", "2h")]).unwrap_err().contains("READ_TIMEOUT: '2h' is too long"));
        assert!(read(&[("MAX_IN_FLIGHT_BYTES", "7MiB")]).unwrap_err().contains("MAX_BODY_BYTES: is 6291456, but"));
    }

    #[test]
    fn there_is_room_for_the_headers_of_every_connection() {
        const SMALL: (&str, &str) = ("MAX_IN_FLIGHT_BYTES", "8MiB");
        let error = read(&[SMALL]).unwrap_err();
        assert!(
            error.contains("MAX_IN_FLIGHT: is 1024, but MAX_IN_FLIGHT_BYTES leaves room for the headers of 128"),
            "{error}"
        );
        assert!(read(&[SMALL, ("MAX_IN_FLIGHT", "128")]).is_ok());
        assert!(read(&[SMALL, ("MAX_IN_FLIGHT", "129")]).is_err());
        assert!(read(&[("MAX_IN_FLIGHT_BYTES", "1"), ("MAX_BODY_BYTES", "1"), ("MAX_IN_FLIGHT", "1")]).is_ok());
    }

    #[cfg(feature = "rabbitmq")]
    #[test]
    fn nobody_connects_to_a_function_on_lambda() {
        const LAMBDA: [(&str, &str); 2] =
            [("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), ("QUEUE_URL", "amqps://u:p@host/v")];
        assert!(read(&[LAMBDA[0], LAMBDA[1], ("MAX_IN_FLIGHT_BYTES", "8MiB")]).is_ok());
    }
}
