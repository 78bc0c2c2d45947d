//! A consumer in a process of its own: this test program run again, with a role in its environment.

use std::fs::File;
use std::process::{Child, Command};
use std::time::Duration;

use tempfile::TempDir;
use testbed::eventually;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use webhook_consumer::{BoxError, Consumer, Json, Router};

use crate::process::PATIENCE;

const ROLE: &str = "SECRETS_CONSUMER";
/// The most that an app may log, as the README tells it.
const FILTER: &str = "trace,aws_smithy_runtime=debug";

/// The other process. Killed when dropped.
pub(crate) struct Consuming {
    child: Child,
    folder: TempDir,
}

impl Consuming {
    pub(crate) fn start(variables: &[(&str, String)]) -> Consuming {
        let folder = tempfile::tempdir().unwrap();
        let output = File::create(folder.path().join("output")).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "secrets::consumer::process", "--nocapture"])
            .env_clear()
            .env(ROLE, "yes")
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Consuming { child, folder }
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("output")).unwrap()).into_owned()
    }

    pub(crate) async fn wait_for(&self, part: &str) {
        eventually(part, PATIENCE, async || self.output().contains(part).then_some(())).await;
    }

    /// Everything that it has written.
    pub(crate) async fn end(mut self) -> String {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let status = eventually("the consumer ends", PATIENCE, async || self.child.try_wait().unwrap()).await;
        assert!(status.success(), "{}", self.output());
        self.output()
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test of its own: see [`Consuming`].
#[tokio::test(flavor = "multi_thread")]
async fn process() {
    assert!(include_str!("../../../../consumer/README.md").contains(FILTER), "the README knows another filter");
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let lines = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(FILTER.parse::<Targets>().unwrap()).with(lines).init();
    let router = Router::new()
        .on("*/*", async || ())
        .on("*/fails", async || -> Result<(), BoxError> { Err("it fails".into()) })
        .on("*/panics", async || -> () { panic!("it panics") })
        .on("*/undecodable", async |_: Json<u64>| ());
    Consumer::from_env().unwrap().grace(Duration::from_secs(1)).run(router).await.unwrap();
}
