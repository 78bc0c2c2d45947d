//! What a request says about its event.

use std::time::SystemTime;

use ring::digest;
use webhook_queue::parse_time;

use super::request::Request;
use super::scheme::{Place, Reading};
use super::signature::hex;
use crate::query;

const MAX_ID_BYTES: usize = 128;
/// Of a type, a subject and a tenant each.
const MAX_NAME_BYTES: usize = 200;

/// What a scheme reads from a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The provider's own id of the delivery.
    pub(crate) id: Option<String>,
    /// The event's type, where the request names one.
    pub(crate) event_type: Option<String>,
    /// What it happened to.
    pub(crate) subject: Option<String>,
    /// Whose event it is.
    pub(crate) tenant: Option<String>,
    /// When it happened, by the provider's clock.
    pub(crate) time: Option<SystemTime>,
}

/// What the scheme reads comes first; else the type is the path's or `?type=`, and the tenant is `?tenant=`. A value that
/// an event cannot have is passed over when it is the provider's: there is nobody to tell.
pub(super) fn read(request: &Request<'_>, readings: &[Reading], type_in_path: Option<&str>) -> Facts {
    let reading = request.reading(readings).unwrap_or(&Reading::NOTHING);
    let name = |place: &Place| request.at(place).filter(|text| is_name(text));
    let query = request.parts.uri.query().unwrap_or_default();
    let tenant = name(&reading.tenant).and_then(|text| Some(text.strip_prefix(reading.before_tenant)?.to_owned()));
    Facts {
        id: id(request, reading),
        event_type: name(&reading.event_type).or_else(|| type_in_url(query, type_in_path)),
        subject: name(&reading.subject),
        tenant: tenant.filter(|tenant| !tenant.is_empty()).or_else(|| query::first(query, "tenant")),
        time: request.at(&reading.time).and_then(|text| parse_time(&text)),
    }
}

/// For providers that do not name the type themselves.
pub(crate) fn type_in_url(query: &str, type_in_path: Option<&str>) -> Option<String> {
    type_in_path.map(query::decoded).or_else(|| query::first(query, "type"))
}

/// An id that is unique only within a scope has the scope before it: a URI cannot hold the line between them.
fn id(request: &Request<'_>, reading: &Reading) -> Option<String> {
    let id = request.at(&reading.id)?;
    if reading.id_scope == Place::Nowhere {
        return Some(id).filter(|id| is_id(id));
    }
    let scoped = format!("{}|{id}", request.at(&reading.id_scope)?);
    Some(if is_id(&scoped) { scoped } else { hex(digest::digest(&digest::SHA256, scoped.as_bytes()).as_ref()) })
}

fn is_id(text: &str) -> bool {
    text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::schemes;

    fn facts(scheme: &str, uri: &str, headers: &[(&str, &str)], body: &str, type_in_path: Option<&str>) -> Facts {
        let mut request = http::Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let readings = schemes::named(scheme).unwrap().readings;
        read(&Request::with_body(&parts, body.as_bytes(), &[], readings), readings, type_in_path)
    }

    #[test]
    fn the_path_names_the_type_before_the_query_does() {
        let plain = |uri: &str, in_path| facts("plain", uri, &[], r#"{"type":"c","id":"1"}"#, in_path);
        assert_eq!(plain("/?type=b&tenant=t1", Some("a%2Fb")).event_type.as_deref(), Some("a/b"));
        let both = Facts { event_type: Some("b".into()), tenant: Some("t1".into()), ..Facts::default() };
        assert_eq!(plain("/?type=b&tenant=t1", None), both);
        assert_eq!(plain("/", None), Facts::default());
    }

    #[test]
    fn the_provider_names_the_type_before_the_url_does() {
        let named = |body: &str| facts("stripe", "/?type=b&tenant=t", &[], body, Some("a"));
        let read = named(r#"{"id":"evt_1","type":"invoice.paid","account":"acct_1","data":{"id":"in_1"}}"#);
        assert_eq!((read.id.as_deref(), read.event_type.as_deref()), (Some("evt_1"), Some("invoice.paid")));
        assert_eq!(read.tenant.as_deref(), Some("acct_1"));
        let unnamed = named("no JSON");
        assert_eq!((unnamed.event_type.as_deref(), unnamed.tenant.as_deref()), (Some("a"), Some("t")));
    }

    #[test]
    fn what_an_event_cannot_have_is_passed_over() {
        let github = |id: &str, event: &str| {
            let read = facts("github", "/", &[("x-github-delivery", id), ("x-github-event", event)], "", None);
            (read.id, read.event_type)
        };
        assert_eq!(github("72d3162e", "push"), (Some("72d3162e".into()), Some("push".into())));
        assert_eq!(github(&"x".repeat(MAX_ID_BYTES + 1), &"x".repeat(MAX_NAME_BYTES + 1)), (None, None));
        assert_eq!(github("a b", "a\tb"), (None, None));
        assert_eq!(github("", ""), (None, None));
    }

    #[test]
    fn an_id_within_a_scope_holds_the_scope() {
        let id = |source: &str| {
            facts("cloudevents", "/", &[("ce-id", "1"), ("ce-source", source), ("ce-type", "t%20t")], "{}", None)
        };
        let read = id("https://a.example/b");
        assert_eq!((read.id.as_deref(), read.event_type.as_deref()), (Some("https://a.example/b|1"), Some("t t")));
        let long = id(&format!("/{}", "x".repeat(MAX_ID_BYTES))).id.unwrap();
        assert_eq!(long.len(), 64);
        assert_ne!(Some(long), id(&format!("/y{}", "x".repeat(MAX_ID_BYTES))).id);
        assert_eq!(id("").id, None);
    }

    #[test]
    fn binary_and_structured_events_are_not_mixed() {
        let structured = r#"{"specversion":"1.0","id":"2","source":"/s","type":"u","subject":"x","time":"2026-01-02T03:04:05+01:00"}"#;
        let read = facts("cloudevents", "/", &[], structured, None);
        assert_eq!((read.id.as_deref(), read.event_type.as_deref()), (Some("/s|2"), Some("u")));
        assert_eq!((read.subject.as_deref(), read.time), (Some("x"), parse_time("2026-01-02T02:04:05Z")));
        let binary = facts("cloudevents", "/", &[("ce-id", "1"), ("ce-source", "/r")], structured, None);
        assert_eq!(binary, Facts { id: Some("/r|1".into()), ..Facts::default() });
    }

    #[test]
    fn the_one_event_of_a_list_is_read_and_several_are_none() {
        let event =
            r#"{"id":"1","topic":"/t","subject":"s","eventType":"u","eventTime":"2026-01-02T03:04:05Z","data":{}}"#;
        let read = facts("event-grid", "/", &[], &format!("[{event}]"), None);
        assert_eq!(
            (read.id.as_deref(), read.event_type.as_deref(), read.subject.as_deref()),
            (Some("1"), Some("u"), Some("s"))
        );
        assert_eq!(facts("event-grid", "/", &[], &format!("[{event},{event}]"), None), Facts::default());
    }

    #[test]
    fn a_company_is_the_tenant() {
        let headers = [("ce-id", "198:f059"), ("ce-subject", "company:108061"), ("ce-type", "t")];
        let read = facts("fatture-in-cloud", "/", &headers, r#"{"data":{"ids":[1]}}"#, None);
        assert_eq!((read.tenant.as_deref(), read.subject.as_deref()), (Some("108061"), Some("company:108061")));
        assert_eq!(read.id.as_deref(), Some("198:f059"));
    }
}
