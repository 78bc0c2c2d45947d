use super::*;
use crate::testing::{event, fatture_in_cloud};

fn structured(event_type: &str, subject: &str, data: &str) -> Event {
    let body = format!(
        r#"{{"id":"198:f059b211-24f4-44ab-9859-b1613a9a0712","source":"https://api-v2.fattureincloud.it",
            "specversion":"1.0","type":"{event_type}","subject":"{subject}","time":"2023-03-21T09:00:13+01:00",
            "datacontenttype":"application/json","data":{data}}}"#
    );
    event("fatture-in-cloud/any").body(body).build()
}

fn refused(event: &Event) -> String {
    Notification::<u64>::try_from(event).unwrap_err().to_string()
}

const CREATED: &str = "it.fattureincloud.webhooks.issued_documents.invoices.create";

#[test]
fn both_mappings_say_the_same() {
    let binary = fatture_in_cloud("issued_documents.invoices.create", 108061, &[3062300, 3062301]).build();
    let expected = Notification {
        company: 108061,
        resource: "issued_documents.invoices".to_owned(),
        action: "create".to_owned(),
        ids: vec![3062300, 3062301],
    };
    assert_eq!(Notification::try_from(&binary).unwrap(), expected);
    // What each mode's own decoder makes of the data is taken in both.
    for data in [r#"{"ids":[3062300,3062301]}"#, r#"{"data":{"ids":[3062300,3062301]}}"#] {
        assert_eq!(Notification::try_from(&structured(CREATED, "company:108061", data)).unwrap(), expected);
    }
}

#[test]
fn ids_are_of_the_handlers_own_type() {
    let event = structured(CREATED, "company:1", r#"{"ids":["a","b"]}"#);
    assert_eq!(Notification::<String>::try_from(&event).unwrap().ids, ["a", "b"]);
    assert_eq!(refused(&event), "the ids are not what the handler expects");
}

#[test]
fn only_a_greeting_has_no_ids() {
    let greeting = structured("it.fattureincloud.webhooks.subscriptions.welcome", "company:1", "null");
    let greeting: Notification = Notification::try_from(&greeting).unwrap();
    assert_eq!((greeting.action.as_str(), greeting.ids.len()), ("welcome", 0));
    assert_eq!(refused(&structured(CREATED, "company:1", "{}")), "there are no ids in the notification");
}

#[test]
fn types_are_open_and_what_is_none_is_refused() {
    let unheard_of = structured("it.fattureincloud.webhooks.a.b.c.d", "company:1", r#"{"ids":[]}"#);
    let unheard_of: Notification = Notification::try_from(&unheard_of).unwrap();
    assert_eq!((unheard_of.resource.as_str(), unheard_of.action.as_str()), ("a.b.c", "d"));
    for event_type in ["it.fattureincloud.webhooks.x", "issued_documents.invoices.create"] {
        let event = structured(event_type, "company:1", r#"{"ids":[1]}"#);
        assert_eq!(refused(&event), "the type is none of Fatture in Cloud's");
    }
    for subject in ["", "company:", "company:x", "108061"] {
        let event = structured(CREATED, subject, r#"{"ids":[1]}"#);
        assert_eq!(refused(&event), "the subject is not `company:` and its number", "{subject}");
    }
}
