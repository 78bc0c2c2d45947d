//! The standard chain of credentials: they are renewed before they expire, whoever has them may be away, and nobody gets
//! to read them. The chain reads the environment of a process, so the publisher is in one of its own.

mod process;
mod provider;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use testbed::{Moto, Proxy, SqsStandIn};

use self::process::{FAILED, PUBLISHED, Process};
use self::provider::{Provider, TOKEN, assert_handed_out, assert_told_nobody};

const PATIENCE: Duration = Duration::from_secs(20);
const JWT: &str = "CanaryOfTheWebIdentity";
const ROLE: &str = "arn:aws:iam::123456789012:role/forwarder";

/// Those in the environment of a container of ECS or EKS.
fn of_container(addr: SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{addr}/credentials")),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN.to_owned()),
    ]
}

async fn provider_that_may_be_away(long: Duration) -> Proxy {
    Proxy::start(Provider::start(long).await.addr()).await
}

/// Those of a web identity whose token is in a file of this folder.
fn of_web_identity(folder: &Path, sts: SocketAddr) -> Vec<(&'static str, String)> {
    let token = folder.join("token");
    std::fs::write(&token, JWT).unwrap();
    vec![
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.display().to_string()),
        ("AWS_ROLE_ARN", ROLE.to_owned()),
        ("AWS_ENDPOINT_URL_STS", format!("http://{sts}")),
    ]
}

/// Publishes with the credentials of a role. What was said meanwhile.
async fn publish_in_a_role(variables: Vec<(&'static str, String)>) -> String {
    let server = SqsStandIn::start().await;
    let queue = server.queue(false, json!({})).await;
    let mut process = Process::start(&queue.url(), variables);
    process.says(PUBLISHED).await;
    let said = process.end().await;
    let signers = server.signers();
    // So begin those of a role, and not those in the profile.
    assert!(signers.iter().all(|signer| signer.starts_with("ASIA")), "{signers:?}");
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
    let proxy = provider_that_may_be_away(Duration::from_secs(12)).await;
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
    let proxy = provider_that_may_be_away(Duration::from_secs(3600)).await;
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
    let said = publish_in_a_role(of_web_identity(folder.path(), Moto::shared().await.addr())).await;
    assert!(!said.contains(JWT), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_read_is_not_shown() {
    let queue = SqsStandIn::shared().await.absent_queue(false);
    let (folder, sts) = (tempfile::tempdir().unwrap(), Provider::start_unreadable().await);
    let mut process = Process::start(&queue.url(), of_web_identity(folder.path(), sts.addr()));
    process.says("no AWS credentials").await;
    process.says(FAILED).await;
    assert_told_nobody(&process.end().await);
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
    let variables = vec![
        ("AWS_CONFIG_FILE", file.display().to_string()),
        ("AWS_PROFILE", "queue".to_owned()),
        ("AWS_ENDPOINT_URL_STS", format!("http://{}", Moto::shared().await.addr())),
    ];
    let said = publish_in_a_role(variables).await;
    assert!(!said.contains(secret), "{said}");
}
