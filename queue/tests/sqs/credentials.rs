//! The standard chain of credentials: they are renewed before they expire, whoever has them may be away, and nobody gets
//! to read them. The chain reads the environment of a process, so the publisher is in one of its own.

mod process;
mod provider;

use std::time::Duration;

use serde_json::json;
use testbed::{Moto, Proxy, SqsStandIn};

use self::process::{FAILED, PUBLISHED, Process};
use self::provider::{Provider, TOKEN, assert_handed_out, assert_told_nobody};

const PATIENCE: Duration = Duration::from_secs(20);
const ROLE: &str = "arn:aws:iam::123456789012:role/forwarder";

/// Those in the environment of a container of ECS or EKS.
fn of_container(addr: std::net::SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{addr}/credentials")),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN.to_owned()),
    ]
}

/// Publishes with the credentials of a role until SQS has seen them.
async fn assume(name: &str, variables: Vec<(&'static str, String)>) -> String {
    let (server, sts) = (SqsStandIn::start().await, Moto::shared().await);
    let queue = server.queue(false, json!({})).await;
    let endpoint = ("AWS_ENDPOINT_URL_STS", format!("http://{}", sts.addr()));
    let mut process = Process::start(&queue.url(), [variables, vec![endpoint]].concat());
    process.says(PUBLISHED).await;
    let said = process.end().await;
    // So begin those of a role, and those in a profile do not.
    assert!(server.signers().iter().all(|signer| signer.starts_with("ASIA")), "{name}: {:?}", server.signers());
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_renewed_without_a_failed_request() {
    let server = SqsStandIn::start().await;
    let queue = server.queue(false, json!({})).await;
    let provider = Provider::start(Duration::from_secs(6)).await;
    let mut process = Process::start(&queue.url(), of_container(provider.addr()));
    process.publishes_with(3, &server).await;
    let said = process.end().await;
    assert!(!said.contains(FAILED), "{said}");
    assert_handed_out(&server.signers());
    assert_told_nobody(&said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_fails_costs_nothing_while_they_are_good() {
    let server = SqsStandIn::start().await;
    let queue = server.queue(false, json!({})).await;
    let provider = Provider::start(Duration::from_secs(12)).await;
    let proxy = Proxy::start(provider.addr()).await;
    let mut process = Process::start(&queue.url(), of_container(proxy.addr()));
    process.says(PUBLISHED).await;
    proxy.cut();
    process.says("those from before are good for now").await;
    process.says(PUBLISHED).await;
    proxy.heal();
    process.publishes_with(2, &server).await;
    let said = process.end().await;
    assert!(!said.contains(FAILED), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_a_publish_fails_in_time_and_later_ones_do_not() {
    let server = SqsStandIn::start().await;
    let queue = server.queue(false, json!({})).await;
    let provider = Provider::start(Duration::from_secs(3600)).await;
    let proxy = Proxy::start(provider.addr()).await;
    proxy.stall();
    let mut process = Process::start(&queue.url(), of_container(proxy.addr()));
    process.says(FAILED).await;
    proxy.cut();
    process.says("no AWS credentials").await;
    process.says("the queue cannot be reached").await;
    proxy.heal();
    process.says(PUBLISHED).await;
    let said = process.end().await;
    assert!(!said.contains(process::LATE), "{said}");
    assert_told_nobody(&said);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_looked_for_is_told_on_one_line() {
    let queue = SqsStandIn::shared().await.absent_queue(false);
    let mut process = Process::start(&queue.url(), Vec::new());
    process.says("no AWS credentials").await;
    process.says(FAILED).await;
    let said = process.end().await;
    let told =
        |line: &&str| line.starts_with(FAILED) && line.contains("WebIdentityToken") && line.contains("EcsContainer");
    assert!(said.lines().find(told).is_some(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_identity_assumes_its_role() {
    let folder = tempfile::tempdir().unwrap();
    let (token, jwt) = (folder.path().join("token"), "CanaryOfTheWebIdentity");
    std::fs::write(&token, jwt).unwrap();
    let token = token.display().to_string();
    let said =
        assume("web identity", vec![("AWS_WEB_IDENTITY_TOKEN_FILE", token), ("AWS_ROLE_ARN", ROLE.to_owned())]).await;
    assert!(!said.contains(jwt), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_assumes_its_role() {
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (folder.path().join("config"), "CanaryOfTheProfile");
    let profiles = format!(
        "[profile queue]\nrole_arn = {ROLE}\nsource_profile = user\n\
         [profile user]\naws_access_key_id = AKIAUSER\naws_secret_access_key = {secret}\n"
    );
    std::fs::write(&file, profiles).unwrap();
    let file = file.display().to_string();
    let said = assume("profile", vec![("AWS_CONFIG_FILE", file), ("AWS_PROFILE", "queue".to_owned())]).await;
    assert!(!said.contains(secret), "{said}");
}
