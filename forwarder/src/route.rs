//! From a path to whoever answers it.

use crate::sources::{Source, Sources};

/// Azure puts this before every path.
const HOST_PREFIX: &str = "/api";
/// Before the name of every source.
pub(crate) const WEBHOOKS: &str = "/webhooks/";

/// Who answers a request.
#[derive(Debug)]
pub(crate) enum Route<'a> {
    /// `/` and `/healthz`: the process is there.
    Alive,
    /// `/readyz`: so is the queue.
    Ready,
    /// A source's webhook, with the type that the path names, still percent-encoded.
    Webhook { source: &'a Source, event_type: Option<&'a str> },
    /// Nobody.
    Unknown,
}

/// Finds who answers.
pub(crate) fn route<'a>(sources: &'a Sources, path: &'a str) -> Route<'a> {
    if let Some(source) = sources.at_path(path) {
        return Route::Webhook { source, event_type: None };
    }
    match without_host_prefix(path) {
        "/" | "/healthz" => Route::Alive,
        "/readyz" => Route::Ready,
        path => webhook(sources, path).unwrap_or(Route::Unknown),
    }
}

/// The path as the forwarder knows it.
pub(crate) fn without_host_prefix(path: &str) -> &str {
    match path.strip_prefix(HOST_PREFIX) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

/// Whether a source may not have this path as its own.
pub(crate) fn is_own_path(path: &str) -> bool {
    let path = without_host_prefix(path);
    matches!(path, "/" | "/healthz" | "/readyz") || path.starts_with(WEBHOOKS)
}

fn webhook<'a>(sources: &'a Sources, path: &'a str) -> Option<Route<'a>> {
    let rest = path.strip_prefix(WEBHOOKS)?;
    let (name, event_type) = rest.split_once('/').unwrap_or((rest, ""));
    let source = sources.named(name)?;
    match event_type {
        "" => Some(Route::Webhook { source, event_type: None }),
        deeper if deeper.contains('/') => None,
        event_type => Some(Route::Webhook { source, event_type: Some(event_type) }),
    }
}

#[cfg(test)]
mod tests {
    use webhook_queue::Env;

    use super::*;

    fn answered_by(path: &str) -> String {
        let mut env = Env::from_pairs([
            ("SOURCE_SHOP_OPEN", "yes"),
            ("SOURCE_E_CONOMIC_OPEN", "yes"),
            ("SOURCE_E_CONOMIC_PATH", "/api/WebhookForwarder"),
        ]);
        let sources = Sources::from_env(&mut env);
        env.finish().unwrap();
        match route(&sources, path) {
            Route::Alive => "alive".to_owned(),
            Route::Ready => "ready".to_owned(),
            Route::Webhook { source, event_type } => format!("{} {}", source.name, event_type.unwrap_or("-")),
            Route::Unknown => "nobody".to_owned(),
        }
    }

    #[test]
    fn every_documented_path_is_answered() {
        assert_eq!(answered_by("/"), "alive");
        assert_eq!(answered_by("/api"), "alive");
        assert_eq!(answered_by("/api/"), "alive");
        assert_eq!(answered_by("/healthz"), "alive");
        assert_eq!(answered_by("/api/readyz"), "ready");
        assert_eq!(answered_by("/webhooks/shop"), "shop -");
        assert_eq!(answered_by("/webhooks/shop/"), "shop -");
        assert_eq!(answered_by("/webhooks/shop/order%2Fpaid"), "shop order%2Fpaid");
        assert_eq!(answered_by("/api/webhooks/e-conomic/product-updated"), "e-conomic product-updated");
        assert_eq!(answered_by("/api/WebhookForwarder"), "e-conomic -");
    }

    #[test]
    fn no_other_path_is() {
        for path in [
            "",
            "*",
            "//",
            "/apiwebhooks/shop",
            "/webhooks",
            "/webhooks/",
            "/webhooks/other",
            "/webhooks/Shop",
            "/webhooks/shop/a/b",
            "/webhooks//shop",
            "//webhooks/shop",
            "/api/api/webhooks/shop",
            "/WebhookForwarder",
            "/api/WebhookForwarder/",
            "/webhooks/shop%2fa",
            "/healthz/",
        ] {
            assert_eq!(answered_by(path), "nobody", "{path}");
        }
    }
}
