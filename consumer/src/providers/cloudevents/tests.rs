use serde_json::json;

use super::*;
use crate::testing::event;

fn read<T: DeserializeOwned>(event: impl Into<Event>) -> Result<CloudEvent<T>, Unreadable> {
    CloudEvent::try_from(&event.into())
}

#[test]
fn both_modes_say_the_same() {
    let mut binary = event("cloudevents/com.example.someevent")
        .id("1234-1234-1234")
        .subject("Køl 1%")
        .cloud_event("/mycontext", &json!({ "message": "Hello World!" }))
        .header("ce-ComExampleOther", "5")
        .build();
    binary.http.headers.iter_mut().find(|(name, _)| name == "ce-time").unwrap().1 = "2018-04-05T05:56:24+02:00".into();
    let structured = event("cloudevents/x").body(
        r#"{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","subject":"Køl 1%",
            "id":"1234-1234-1234","time":"2018-04-05T03:56:24Z","comexampleother":5,"nothing":null,
            "datacontenttype":"application/json","data":{"message":"Hello World!"}}"#,
    );
    let binary = read::<Value>(binary).unwrap();
    assert_eq!(binary, read(structured).unwrap());
    assert_eq!(binary.data["message"], "Hello World!");
    assert_eq!((binary.subject.as_deref(), binary.time), (Some("Køl 1%"), parse_time("2018-04-05T03:56:24Z")));
    assert_eq!(binary.extensions, BTreeMap::from([("comexampleother".to_owned(), "5".to_owned())]));
}

#[test]
fn data_may_be_missing_where_the_handler_allows_it() {
    let header_only = event("s/t").cloud_event("/s", &()).body("");
    assert_eq!(read::<Option<u8>>(header_only.clone()).unwrap().data, None);
    read::<()>(header_only.clone()).unwrap();
    let error = read::<u8>(header_only).unwrap_err();
    assert_eq!(error.to_string(), "the CloudEvent's data is not what the handler expects");
    let structured = event("s/t").body(r#"{"specversion":"1.0","id":"1","source":"/","type":"t"}"#);
    assert_eq!(read::<Option<u8>>(structured).unwrap().data, None);
}

#[test]
fn data_may_be_in_base64() {
    let with = |data: &str| {
        let body = format!(r#"{{"specversion":"1.0","id":"1","source":"/","type":"t","data_base64":{data}}}"#);
        read::<Vec<u8>>(event("s/t").body(body)).map(|event| event.data).map_err(|error| error.to_string())
    };
    assert_eq!(with("\"WzEsMl0=\""), Ok(vec![1, 2]));
    assert_eq!(with("\"!\""), Err("the CloudEvent's `data_base64` is no Base64".to_owned()));
    assert_eq!(with("7"), Err("the CloudEvent's data is not what the handler expects".to_owned()));
}

#[test]
fn what_is_no_cloud_event_is_unreadable_and_not_quoted() {
    for (body, reason) in [
        ("", "this is no CloudEvent: it has no header `ce-id`, and its body is no JSON object"),
        ("[]", "this is no CloudEvent: it has no header `ce-id`, and its body is no JSON object"),
        (r#"{"s3cret":1}"#, "the CloudEvent is not of version 1.0, or does not say of which it is"),
        (
            r#"{"specversion":"0.3","id":"s3cret"}"#,
            "the CloudEvent is not of version 1.0, or does not say of which it is",
        ),
        (
            r#"{"specversion":"1.0","id":"s3cret","type":"","source":"/"}"#,
            "the CloudEvent has no `id`, no `source` or no `type`",
        ),
    ] {
        let error = read::<Value>(event("s/t").body(body)).unwrap_err();
        assert_eq!(error.to_string(), reason, "{body}");
    }
}
