//! What is refused is refused the same way on every host.

use crate::KEY;
use crate::client::request;
use crate::stage::Host;

#[tokio::test(flavor = "multi_thread")]
async fn every_host_refuses_the_same_requests_the_same_way() {
    let long = format!("/webhooks/shop?{}", "a".repeat(9000));
    let spoofed: [(&str, &[u8]); 1] = [("x-forwarded-for", b"203.0.113.9")];
    let large = vec![b'x'; 2_000_001];
    let cases: [(Vec<u8>, u16); 9] = [
        (request("POST", "/webhooks/e-conomic", &[], b"x"), 401),
        (request("POST", "/webhooks/e-conomic?key=wrong", &[], b"x"), 401),
        (request("POST", "/webhooks/far", &spoofed, b"x"), 403),
        (request("POST", "/webhooks/other", &[], b"x"), 404),
        (request("PUT", &format!("/webhooks/e-conomic?key={KEY}"), &[], b"x"), 405),
        (request("POST", "/webhooks/shop", &[("content-type", b"image/png")], &large), 413),
        (request("POST", &long, &[], b"x"), 414),
        (request("POST", "/webhooks/shop/%0A", &[], b"x"), 400),
        (request("GET", "/api/healthz", &[], b""), 200),
    ];
    for host in Host::all().await {
        for (request, status) in &cases {
            let answer = host.exchange(request).await;
            let start = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
            assert_eq!(answer.status, *status, "{start} on {}: {}", host.name, answer.body);
            if *status != 200 {
                assert!(answer.head.contains("application/problem+json"), "{start} on {}: {}", host.name, answer.head);
            }
        }
        assert!(host.has_no_message().await, "{} has queued what it refused", host.name);
    }
}
