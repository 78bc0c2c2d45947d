//! The URL to give to a tenant, with the key that is his own.

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use webhook_queue::{ConfigError, Env};

use crate::event::is_type;
use crate::route::WEBHOOKS;
use crate::sources::Sources;

/// All that stands for itself wherever it is in a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URL to which the webhooks of one tenant are sent, and of nobody else: it holds the key that
/// `SOURCE_<NAME>_MASTER_KEY` makes for him. It is secret.
///
/// `base` is where the forwarder is reached, like `https://hooks.example`, and `event_type` is for a provider whose
/// requests do not name it. For the legacy web hooks of e-conomic the URL has the merge fields of the type.
///
/// # Errors
/// If a `SOURCE_*` variable is wrong, the source has no master key, or an argument cannot be part of such a URL. The error
/// names all of them.
///
/// # Examples
/// ```
/// use webhook_forwarder::{Env, tenant_url};
///
/// let env = Env::from_pairs([("SOURCE_E_CONOMIC_MASTER_KEY", "0123456789abcdef0123456789abcdef")]);
/// let url = tenant_url(env, "https://hooks.example", "e-conomic", "123456", Some("product-updated"))?;
/// assert!(url.starts_with("https://hooks.example/webhooks/e-conomic/product-updated?tenant=123456&key="));
/// assert!(url.ends_with("&newnumber=[NEWNUMBER]&oldnumber=[OLDNUMBER]"));
/// # Ok::<(), webhook_forwarder::ConfigError>(())
/// ```
pub fn tenant_url(
    mut env: Env,
    base: &str,
    source: &str,
    tenant: &str,
    event_type: Option<&str>,
) -> Result<String, ConfigError> {
    let url = written(&mut env, base, source, tenant, event_type);
    env.finish().map(|()| url.unwrap_or_default())
}

fn written(env: &mut Env, base: &str, source: &str, tenant: &str, event_type: Option<&str>) -> Option<String> {
    let sources = Sources::from_env(env);
    check_arguments(env, base, tenant, event_type);
    let Some(source) = sources.named(source) else {
        let names: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
        env.problem("<source>", format!("'{source}' is not configured; configured are: {}", names.join(", ")));
        return None;
    };
    let Some(key) = source.key_of(tenant) else {
        let variable = source.variable("MASTER_KEY");
        if !env.is_set(&variable) {
            env.problem(
                &variable,
                "is not set, and makes the keys of tenants: set it to a long random key, here and where webhooks are received",
            );
        }
        return None;
    };
    let Some(fields) = source.merge_fields(event_type) else {
        env.problem(
            "<type>",
            "is needed by e-conomic, whose requests do not name it: the name of the web hook like product-updated or \
             invoice-booked, or of an event type of the Webhooks API like INVOICE_BOOKED",
        );
        return None;
    };
    let base = base.trim_end_matches('/');
    let escaped = |text| utf8_percent_encode(text, ESCAPED);
    let event_type_in_path = event_type.map(|name| format!("/{}", escaped(name))).unwrap_or_default();
    // The fields are last: nobody knows whether e-conomic escapes what it fills in, and a `#` would cut off the rest.
    Some(format!("{base}{WEBHOOKS}{}{event_type_in_path}?tenant={}&key={key}{fields}", source.name, escaped(tenant)))
}

fn check_arguments(env: &mut Env, base: &str, tenant: &str, event_type: Option<&str>) {
    let is_base = base.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("https" | "http")) && uri.query().is_none() && !base.contains('#')
    });
    if !is_base {
        env.problem("<base>", "is not where a forwarder can be reached, like https://hooks.example");
    }
    if tenant.is_empty() || tenant.chars().any(char::is_control) {
        env.problem("<tenant>", "is empty, or has control characters");
    }
    // Whoever sends the webhook would take dots for the way to another path.
    if event_type.is_some_and(|name| name.trim_matches('.').is_empty() || !is_type(name)) {
        env.problem("<type>", "is empty, only dots, too long, or has control characters");
    }
}
