//! The address at which RabbitMQ's management API takes events, as e-conomic's guide writes it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use crate::env::{Env, Problem};

const FORM: &str = "https://host/api/exchanges/{vhost}/{exchange}/publish";
const FORM_WITH_USER: &str = "https://user:password@host/api/exchanges/{vhost}/{exchange}/publish";
/// What the guide calls the address, and the user and password.
const ENDPOINT: &str = "AmqpEndpoint";
const AUTH_HEADER: &str = "AmqpAuthHeader";
/// Everything that could mean something else in an address.
const SPECIAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where and as whom to publish through RabbitMQ's management API:
/// `https://user:password@host/api/exchanges/{vhost}/{exchange}/publish`, or `http://` for a broker without TLS.
///
/// Neither `Debug` nor `Display` shows user and password.
#[derive(Clone)]
pub struct PublishUrl {
    tls: bool,
    host: HostAndPort,
    user: String,
    password: SecretString,
    vhost: String,
    exchange: String,
}

/// A host, with the brackets of an IPv6 address, and the port where it is not the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostAndPort {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

impl PublishUrl {
    /// Reads the address. The error names what is understood, never the address.
    pub fn parse(text: &str) -> Result<PublishUrl, String> {
        match split(text)? {
            (url, Some((user, password))) => Ok(PublishUrl { user, password, ..url }),
            (_, None) => Err(format!("names no user: write it as {FORM_WITH_USER}")),
        }
    }

    /// What the guide's two variables say, where one of them is set.
    pub(crate) fn from_guide(env: &mut Env) -> Option<Result<PublishUrl, Problem>> {
        let read = match (env.text(ENDPOINT), env.text(AUTH_HEADER)) {
            (None, None) => return None,
            (Some(_), None) => {
                Err((AUTH_HEADER, format!("is not set, but {ENDPOINT} is: it is the base64 of user:password")))
            }
            (None, Some(_)) => Err((ENDPOINT, format!("is not set, but {AUTH_HEADER} is: it is {FORM}"))),
            (Some(endpoint), Some(header)) => match (split(endpoint.trim()), login(&header)) {
                (Ok((_, Some(_))), _) => {
                    Err((ENDPOINT, format!("names a user, and so does {AUTH_HEADER}: write it as {FORM}")))
                }
                (Ok((url, None)), Ok((user, password))) => Ok(PublishUrl { user, password, ..url }),
                (Err(message), _) => Err((ENDPOINT, message)),
                (_, Err(message)) => Err((AUTH_HEADER, message)),
            },
        };
        Some(read.map_err(|(variable, message)| Problem { variable: variable.to_owned(), message }))
    }

    /// Notes the guide's variables where they have no effect.
    pub(crate) fn refuse_guide(env: &mut Env) {
        for name in [ENDPOINT, AUTH_HEADER] {
            if env.text(name).is_some() {
                env.problem(name, "has no effect, because QUEUE_URL is set: remove one of the two");
            }
        }
    }

    /// The exchange that it publishes to.
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The same broker and virtual host over AMQP, on its default port.
    pub(crate) fn amqp_url(&self) -> String {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        let password = escaped(self.password.expose_secret());
        format!("{scheme}://{}:{password}@{}/{}", escaped(&self.user), self.host.host, escaped(&self.vhost))
    }
}

#[cfg(feature = "rabbitmq_http")]
impl PublishUrl {
    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }

    pub(crate) fn host(&self) -> &HostAndPort {
        &self.host
    }

    pub(crate) fn vhost(&self) -> &str {
        &self.vhost
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn password(&self) -> &SecretString {
        &self.password
    }
}

impl fmt::Display for PublishUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let PublishUrl { host, vhost, exchange, .. } = self;
        write!(f, "{scheme}://{host}/api/exchanges/{}/{}/publish", escaped(vhost), escaped(exchange))
    }
}

impl fmt::Debug for PublishUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text as one segment of a path, or as user or password.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, SPECIAL).to_string()
}

type Login = (String, SecretString);

/// The address without a user, and the user, where it names one.
fn split(text: &str) -> Result<(PublishUrl, Option<Login>), String> {
    let form = || format!("must be like {FORM} (a / in the virtual host's name is written %2F)");
    if text.contains(['?', '#']) {
        return Err(
            "takes neither query nor fragment: remove what begins with ? or # (in a password: %3F, %23)".to_owned()
        );
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
    let tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(form()),
    };
    let (authority, path) = rest.split_once('/').ok_or_else(form)?;
    let segments: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    let ["api", "exchanges", vhost, exchange, "publish"] = segments[..] else { return Err(form()) };
    let (vhost, exchange) = (unescaped(vhost)?, unescaped(exchange)?);
    if vhost.is_empty() {
        return Err(form());
    }
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    let login = login.map(|login| {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        Ok::<_, String>((unescaped(user)?, unescaped(password)?.into()))
    });
    let host = HostAndPort::parse(host).ok_or_else(form)?;
    let exchange = crate::config::exchange_name(&exchange)?;
    let url = PublishUrl { tls, host, user: String::new(), password: String::new().into(), vhost, exchange };
    Ok((url, login.transpose()?))
}

impl HostAndPort {
    /// Reads `host` or `host:port`.
    pub(crate) fn parse(text: &str) -> Option<HostAndPort> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (text, None),
        };
        let good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')),
        };
        (good && !host.is_empty()).then(|| HostAndPort { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostAndPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

fn unescaped(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| "holds %-escapes that are not UTF-8".to_owned())
}

/// User and password from the base64 of `user:password`, with or without `Basic` before it.
fn login(header: &str) -> Result<Login, String> {
    let words: Vec<&str> = header.split_whitespace().collect();
    let encoded = match words[..] {
        [basic, encoded] if basic.eq_ignore_ascii_case("basic") => encoded,
        [encoded] => encoded,
        _ => return Err("must be the base64 of user:password".to_owned()),
    };
    let decoded = STANDARD.decode(encoded).map_err(|_| "is not base64: it is the base64 of user:password")?;
    let decoded =
        String::from_utf8(decoded).map_err(|_| "is base64, but not of a text: it is that of user:password")?;
    let (user, password) = decoded.split_once(':').ok_or("holds no colon: it is the base64 of user:password")?;
    Ok((user.to_owned(), password.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: &str = "https://antelope.rmq.cloudamqp.com/api/exchanges/gtygdfsy/e-conomic.direct/publish";

    fn guide(endpoint: &str, header: &str) -> Result<PublishUrl, String> {
        let mut env = Env::from_pairs([(ENDPOINT, endpoint), (AUTH_HEADER, header)]);
        PublishUrl::from_guide(&mut env).unwrap().map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_guides_settings_are_read() {
        let encoded = STANDARD.encode("gtygdfsy:p:w/d");
        for header in
            [encoded.clone(), format!("Basic {encoded}"), format!(" basic  {encoded}\n"), format!("BASIC {encoded}")]
        {
            let url = guide(SEEDS, &header).unwrap();
            assert_eq!((url.user.as_str(), url.password.expose_secret()), ("gtygdfsy", "p:w/d"));
            assert_eq!((url.vhost.as_str(), url.exchange()), ("gtygdfsy", "e-conomic.direct"));
            assert_eq!(url.amqp_url(), "amqps://gtygdfsy:p%3Aw%2Fd@antelope.rmq.cloudamqp.com/gtygdfsy");
            assert_eq!(format!("{url} {url:?}"), format!("{SEEDS} {SEEDS}"));
        }
    }

    #[test]
    fn escapes_are_read_and_written() {
        let url = PublishUrl::parse("http://u%40x:%C3%A4%2F@[::1]:15672/api/exchanges/%2F/a%20b/publish/").unwrap();
        assert_eq!((url.user.as_str(), url.password.expose_secret()), ("u@x", "ä/"));
        assert_eq!((url.vhost.as_str(), url.exchange(), url.host.to_string().as_str()), ("/", "a b", "[::1]:15672"));
        assert_eq!(url.amqp_url(), "amqp://u%40x:%C3%A4%2F@[::1]/%2F");
        assert_eq!(url.to_string(), "http://[::1]:15672/api/exchanges/%2F/a%20b/publish");
    }

    #[test]
    fn every_mistake_is_named_and_no_secret_shown() {
        for (address, expected) in [
            ("https://u:s3cret@host", "must be like https://host/api/exchanges/{vhost}/{exchange}/publish"),
            ("https://u:s3cret@host/api/exchanges/v/publish", "must be like"),
            ("https://u:s3cret@host/api/exchanges///e/publish", "%2F"),
            ("https://u:s3cret@ho st/api/exchanges/v/e/publish", "must be like"),
            ("https://u:s3cret@host:port/api/exchanges/v/e/publish", "must be like"),
            ("https://u:s3cret@host/api/exchanges/v/e/publish?x", "neither query nor fragment"),
            ("https://u:s3cret@host/api/exchanges/v/e/publish#x", "neither query nor fragment"),
            ("https://u:s3cret@host/api/exchanges/v/amq.direct/publish", "starts with amq."),
            ("https://u:s3cret%ff@host/api/exchanges/v/e/publish", "not UTF-8"),
            (SEEDS, "names no user"),
        ] {
            let error = PublishUrl::parse(address).unwrap_err();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{error}");
        }
        for (endpoint, header, expected) in [
            (SEEDS, "", "AmqpAuthHeader: is not set, but AmqpEndpoint is"),
            ("", "czNjcmV0", "AmqpEndpoint: is not set, but AmqpAuthHeader is"),
            (SEEDS, "s3cret", "AmqpAuthHeader: is not base64"),
            (SEEDS, "user:s3cret", "AmqpAuthHeader: is not base64"),
            (SEEDS, "Bearer s3cret", "AmqpAuthHeader: must be the base64 of user:password"),
            (SEEDS, "czNjcmV0", "AmqpAuthHeader: holds no colon"),
            (SEEDS, "gICA", "AmqpAuthHeader: is base64, but not of a text"),
            ("https://host/", "dTpw", "AmqpEndpoint: must be like https://host/api/exchanges/"),
            (
                "https://u:s3cret@h/api/exchanges/v/e/publish",
                "dTpw",
                "AmqpEndpoint: names a user, and so does AmqpAuthHeader",
            ),
        ] {
            let error = guide(endpoint, header).unwrap_err();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{error}");
        }
    }
}
