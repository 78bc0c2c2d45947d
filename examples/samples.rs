//! One sample webhook of each provider: what its documentation shows, as an HTTP request, signed as the provider signs.
//!
//! Where a provider documents no body, the sample says so ([`Sample::stand_in`]).

mod sign;

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One webhook as a provider sends it.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The source that receives it: the part of the path after `/webhooks/`.
    pub source: &'static str,
    /// What follows in the URL that is given to the provider: the event's type where the request does not name it,
    /// and the query.
    pub rest: &'static str,
    /// The type that the event has.
    pub event_type: &'static str,
    /// What the source needs beside a key, without the `SOURCE_<NAME>_` before each variable's name.
    pub settings: &'static [(&'static str, &'static str)],
    /// How the provider signs the body now: headers.
    pub sign: fn(body: &str) -> Vec<(&'static str, String)>,
    /// The provider's other headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// The body.
    pub body: &'static str,
    /// The provider does not document its body: this one only stands in for it.
    pub stand_in: bool,
}

const JSON: (&str, &str) = ("Content-Type", "application/json");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// A sample without the exceptions that `..SAMPLE` leaves to be written.
const SAMPLE: Sample = Sample {
    source: "",
    rest: "",
    event_type: "webhook",
    settings: &[],
    sign: sign::not_at_all,
    headers: &[JSON],
    body: "{}",
    stand_in: false,
};

/// All samples, e-conomic first.
pub const SAMPLES: &[Sample] = &[
    // e-conomic's older web hooks: everything is in the query, so the URL names the type.
    Sample {
        source: "e-conomic",
        rest: "/product-updated?newnumber=33&oldnumber=33",
        event_type: "product-updated",
        headers: &[],
        body: "",
        ..SAMPLE
    },
    // The same, set up with data to be posted.
    Sample {
        source: "e-conomic",
        rest: "/day-book-booked",
        event_type: "day-book-booked",
        headers: &[FORM],
        body: "book=1&from=2041&to=2043",
        ..SAMPLE
    },
    // e-conomic's newer webhooks.
    Sample { source: "e-conomic", rest: "/INVOICE_BOOKED", event_type: "INVOICE_BOOKED", stand_in: true, ..SAMPLE },
    Sample { source: "ecovelo", rest: "/trip.terminated", event_type: "trip.terminated", stand_in: true, ..SAMPLE },
    // Only the provider can sign for it, with its private key.
    Sample {
        source: "fatture-in-cloud",
        settings: &[("SCHEME", "plain")],
        headers: &[
            JSON,
            ("ce-type", "it.fattureincloud.webhooks.issued_documents.invoices.create"),
            ("ce-time", "2023-04-04T12:51:21+00:00"),
            ("ce-subject", "company:108061"),
            ("ce-specversion", "1.0"),
            ("ce-source", "https://api-v2.fattureincloud.it"),
            ("ce-id", "198:f059b211-24f4-44ab-9859-b1613a9a0712"),
        ],
        body: r#"{"data":{"ids":[3062300]}}"#,
        ..SAMPLE
    },
    Sample {
        source: "standard-webhooks",
        settings: &[("SIGNING_SECRET", sign::WEBHOOK_SECRET)],
        sign: sign::standard_webhooks,
        event_type: "contact.created",
        body: r#"{"type":"contact.created","timestamp":"2022-11-03T20:26:10.344522Z","data":{"id":"1f81eb52"}}"#,
        ..SAMPLE
    },
    Sample {
        source: "svix",
        settings: &[("SCHEME", "standard-webhooks"), ("SIGNING_SECRET", sign::WEBHOOK_SECRET)],
        sign: sign::svix,
        body: r#"{"email":"test@example.com","username":"test_user"}"#,
        ..SAMPLE
    },
    Sample {
        source: "stripe",
        event_type: "invoice.paid",
        settings: &[("SIGNING_SECRET", sign::SECRET)],
        sign: sign::stripe,
        headers: &[("Content-Type", "application/json; charset=utf-8")],
        body: r#"{"id":"evt_test_webhook","object":"event","type":"invoice.paid"}"#,
        ..SAMPLE
    },
    Sample {
        source: "github",
        event_type: "issues",
        settings: &[("SIGNING_SECRET", sign::SECRET)],
        sign: sign::github,
        headers: &[
            JSON,
            ("User-Agent", "GitHub-Hookshot/044aadd"),
            ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            ("X-GitHub-Event", "issues"),
        ],
        body: r#"{"action":"opened","issue":{"number":1347},"repository":{"full_name":"octocat/Hello-World"}}"#,
        ..SAMPLE
    },
    Sample {
        source: "shopify",
        event_type: "orders/create",
        settings: &[("SIGNING_SECRET", sign::SECRET)],
        sign: sign::shopify,
        headers: &[
            JSON,
            ("X-Shopify-Topic", "orders/create"),
            ("X-Shopify-Shop-Domain", "example.myshopify.com"),
            ("X-Shopify-Webhook-Id", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"),
        ],
        body: r#"{"id":820982911946154508,"financial_status":"paid"}"#,
        ..SAMPLE
    },
    Sample {
        source: "slack",
        event_type: "name_of_event",
        settings: &[("SIGNING_SECRET", sign::SECRET)],
        sign: sign::slack,
        body: r#"{"token":"XXYYZZ","team_id":"T123ABC456","api_app_id":"AXXXXXXXXX","event":{"type":"name_of_event","event_ts":"1234567890.123456","user":"U123ABC456"},"type":"event_callback","event_id":"Ev08MFMKH6","event_time":1234567890}"#,
        ..SAMPLE
    },
    Sample {
        source: "cloudevents",
        event_type: "com.example.someevent",
        headers: &[
            ("Content-Type", "application/json; charset=utf-8"),
            ("ce-specversion", "1.0"),
            ("ce-type", "com.example.someevent"),
            ("ce-time", "2018-04-05T03:56:24Z"),
            ("ce-id", "1234-1234-1234"),
            ("ce-source", "/mycontext/subcontext"),
        ],
        body: r#"{"message":"Hello World!"}"#,
        ..SAMPLE
    },
    Sample {
        source: "event-grid",
        event_type: "Microsoft.Storage.BlobCreated",
        headers: &[JSON, ("aeg-event-type", "Notification")],
        body: r#"[{"topic":"/subscriptions/{subscription-id}/resourceGroups/Storage/providers/Microsoft.Storage/storageAccounts/xstoretestaccount","subject":"/blobServices/default/containers/testcontainer/blobs/testfile.txt","eventType":"Microsoft.Storage.BlobCreated","eventTime":"2017-06-26T18:41:00.9584103Z","id":"831e1650-001e-001b-66ab-eeb76e069631","data":{"api":"PutBlockList"},"dataVersion":"","metadataVersion":"1"}]"#,
        ..SAMPLE
    },
    // Only Amazon can sign for it, so here it is taken by key.
    Sample {
        source: "sns",
        settings: &[("SCHEME", "plain")],
        headers: &[
            ("Content-Type", "text/plain; charset=UTF-8"),
            ("x-amz-sns-message-type", "Notification"),
            ("x-amz-sns-message-id", "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"),
            ("x-amz-sns-topic-arn", "arn:aws:sns:us-west-2:123456789012:MyTopic"),
        ],
        body: r#"{"Type":"Notification","MessageId":"22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324","TopicArn":"arn:aws:sns:us-west-2:123456789012:MyTopic","Subject":"My First Message","Message":"Hello world!","Timestamp":"2012-05-02T00:54:06.655Z"}"#,
        ..SAMPLE
    },
    Sample {
        source: "meta",
        event_type: "whatsapp_business_account",
        settings: &[("SIGNING_SECRET", sign::SECRET), ("VERIFY_TOKEN", "meatyhamhock")],
        sign: sign::meta,
        body: r#"{"object":"whatsapp_business_account","entry":[{"id":"WHATSAPP_BUSINESS_ACCOUNT_ID","changes":[{"value":{"messaging_product":"whatsapp","messages":[{"from":"PHONE_NUMBER","id":"wamid.ID","timestamp":"1749416383","type":"text","text":{"body":"MESSAGE_BODY"}}]},"field":"messages"}]}]}"#,
        ..SAMPLE
    },
    Sample {
        source: "graph",
        settings: &[("VERIFY_TOKEN", "secretClientValue")],
        body: r#"{"value":[{"id":"lsgTZMr9KwAAA","subscriptionId":"{subscription_guid}","subscriptionExpirationDateTime":"2016-03-19T22:11:09.952Z","clientState":"secretClientValue","changeType":"created","resource":"users/{user_guid}/messages/{long_id_string}","tenantId":"84bd8158-6d4d-4958-8b9f-9d6445542f95"}]}"#,
        ..SAMPLE
    },
    Sample {
        source: "dropbox",
        settings: &[("SIGNING_SECRET", sign::SECRET)],
        sign: sign::dropbox,
        body: r#"{"list_folder":{"accounts":["dbid:AAH4f99T0taONIb-OurWxbNQ6ywGRopQngc"]}}"#,
        ..SAMPLE
    },
    // Twilio's own example of a signed request; its URL has a query.
    Sample {
        source: "twilio",
        rest: "?foo=1&bar=2",
        settings: &[("SIGNING_SECRET", "12345"), ("URL", "https://mycompany.com/myapp.php")],
        headers: &[FORM, ("X-Twilio-Signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")],
        body: "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212",
        ..SAMPLE
    },
];

impl Sample {
    /// The variables of its source, with a key where the provider does not prove itself.
    pub fn variables(&self, key: &str) -> Vec<(String, String)> {
        let prefix = format!("SOURCE_{}", self.source.to_uppercase().replace('-', "_"));
        let settings = self.settings.iter().map(|(name, value)| (format!("{prefix}_{name}"), (*value).to_owned()));
        let key = self.is_keyed().then(|| (format!("{prefix}_ACCESS_KEY"), key.to_owned()));
        settings.chain(key).collect()
    }

    fn is_keyed(&self) -> bool {
        !self.settings.iter().any(|(name, _)| ["SIGNING_SECRET", "VERIFY_TOKEN"].contains(name))
    }

    /// Sends it to a forwarder over HTTP, with the source's key or signature, and returns the id in its answer.
    ///
    /// # Errors
    /// If the forwarder cannot be reached, or does not answer 200.
    pub async fn send(&self, forwarder: SocketAddr, key: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(forwarder).await?;
        stream.write_all(self.request(key).as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        answer
            .strip_prefix("HTTP/1.1 200 ")
            .and_then(|rest| rest.split_once("{\"id\":\"")?.1.strip_suffix("\"}"))
            .map(str::to_owned)
            .ok_or_else(|| io::Error::other(format!("{}: not answered 200 but {answer}", self.source)))
    }

    fn request(&self, key: &str) -> String {
        let Sample { source, rest, body, .. } = self;
        let key = match (self.is_keyed(), rest.contains('?')) {
            (true, true) => format!("&key={key}"),
            (true, false) => format!("?key={key}"),
            (false, _) => String::new(),
        };
        let headers = self.headers.iter().map(|(name, value)| (*name, (*value).to_owned())).chain((self.sign)(body));
        let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!(
            "POST /webhooks/{source}{rest}{key} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        )
    }
}

/// The code in the project's README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
