//! What is Azure's own: a host that kills its handler, hands a request over twice, and in its other mode loses bodies.

use std::collections::HashSet;
use std::time::Duration;

use testbed::{AzureHost, Mode, Vhost, eventually};

use crate::client::{chunked, exchange, request};
use crate::function::PROGRAM;
use crate::stage::{message, messages, queue, variables};
use crate::{KEY, PATIENCE};

const INVOCATION_ID: &str = "x-azure-functions-invocationid";

async fn host(mode: Mode) -> (Vhost, AzureHost) {
    let vhost = queue().await;
    let host = AzureHost::start(mode, PROGRAM, variables(&vhost.amqp_url())).await;
    (vhost, host)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_hands_over_twice_is_one_event() {
    let (vhost, host) = host(Mode::Proxying).await;
    let claimed: [(&str, &[u8]); 1] = [(INVOCATION_ID, b"mine")];
    host.send_next_twice();
    let answer = exchange(host.addr(), &request("POST", "/api/webhooks/shop", &claimed, b"twice")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(exchange(host.addr(), &request("POST", "/api/webhooks/shop", &[], b"again")).await.status, 200);

    let copies = messages(&vhost).await;
    let ids: Vec<&str> = copies.iter().map(|copy| copy.attribute("id")).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids[0] == ids[1] && ids[1] != ids[2] && ids[0] != "mine", "{ids:?}");
    assert_eq!(copies[0].header(INVOCATION_ID), [ids[0]]);
    assert!(answer.body.contains(ids[0]));
    assert!(copies.iter().all(|copy| copy.attribute("idorigin") == "forwarder"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_200_survives_the_end_of_the_handler() {
    const WEBHOOKS: usize = 200;
    let (vhost, host) = host(Mode::Proxying).await;
    let senders: Vec<_> = (0..WEBHOOKS)
        .map(|number| {
            let (addr, body) = (host.addr(), number.to_string());
            tokio::spawn(async move {
                let request = request("POST", "/api/webhooks/shop", &[], body.as_bytes());
                (body, exchange(addr, &request).await.status)
            })
        })
        .collect();
    eventually("webhooks are under way", PATIENCE, async || {
        senders.iter().any(|sender| sender.is_finished()).then_some(())
    })
    .await;
    host.kill_handler().await;
    host.start_handler().await;

    let mut taken = HashSet::new();
    for sender in senders {
        let (body, status) = sender.await.unwrap();
        assert!([200, 502].contains(&status), "{status}");
        if status == 200 {
            taken.insert(body.into_bytes());
        }
    }
    let found: HashSet<Vec<u8>> = messages(&vhost).await.iter().map(|message| message.body()).collect();
    assert!(taken.is_subset(&found), "{} of {} are lost", taken.difference(&found).count(), taken.len());
    assert!(!taken.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_ends_by_itself_is_replaced_and_takes_the_next_webhook() {
    let (vhost, host) = host(Mode::Proxying).await;
    let process = host.handler_process().await.to_string();
    assert!(std::process::Command::new("kill").args(["-9", &process]).status().unwrap().success());
    eventually("another one is started", PATIENCE, async || (host.starts() > 1).then_some(())).await;
    let answer = exchange(host.addr(), &request("POST", "/api/webhooks/shop", &[], b"next")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(message(&vhost).await.body(), b"next");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_body_is_503_and_the_log_says_what_to_set() {
    let (vhost, host) = host(Mode::Forwarding).await;
    for request in [
        chunked("POST", "/api/webhooks/shop", &[], b"lost on the way"),
        request("POST", "/api/webhooks/shop?a=1", &[], b""),
    ] {
        let answer = exchange(host.addr(), &request).await;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.head.to_ascii_lowercase().contains("retry-after: 1"), "{}", answer.head);
    }
    let target = format!("/api/webhooks/e-conomic?code={KEY}&a=1&a=2");
    let encoded: [(&str, &[u8]); 1] = [("content-encoding", b"identity")];
    assert_eq!(exchange(host.addr(), &request("POST", &target, &encoded, b"kept")).await.status, 200);
    let found = messages(&vhost).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].body(), found[0].attribute("verified")), (b"kept".to_vec(), "key"));
    assert!(!found[0].text().contains(KEY));
    // The host's doing, which nobody behind it can undo.
    assert_eq!(found[0].attribute("httpquery"), "a=1%2C2");
    assert!(found[0].header("content-encoding").is_empty());

    let log = host.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("enableProxyingHttpRequest")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines.iter().all(|line| line.contains("ERROR") && line.contains("host.json")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_in_the_log_of_every_start() {
    let wrong = [("SOURCE_SHOP_OPEN", "yes"), ("QUEUE_URL", "sqlite:webhooks.db"), ("LISTEN", "127.0.0.1:1")];
    let port = ("FUNCTIONS_CUSTOMHANDLER_PORT", "1");
    let mut function = crate::function::Function::start(wrong.into_iter().chain([port]));
    assert_eq!(function.ended().await.code(), Some(2));
    function.line("QUEUE_URL: is a sqlite: queue").await;
    function.line("LISTEN: has no effect on Azure Functions").await;
}

/// No start may wait for the queue: the host asks for `/` at once, and gives up after a while.
#[tokio::test(flavor = "multi_thread")]
async fn the_handler_answers_the_host_while_the_queue_is_away() {
    let began = std::time::Instant::now();
    let host = AzureHost::start(Mode::Proxying, PROGRAM, variables("amqp://u:p@127.0.0.1:1/v")).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(exchange(host.addr(), &request("POST", "/api/webhooks/shop", &[], b"x")).await.status, 503);
}
