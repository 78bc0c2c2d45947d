//! A private emulator of Amazon SQS that others wrote.

use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::node::bind_free_ports;
use crate::sqs::SqsServer;
use crate::tools::moto_server;

const START_LIMIT: Duration = Duration::from_secs(60);

/// A `moto_server` of its own on 127.0.0.1. It ends with this value, or with the process.
///
/// It keeps everything in memory and is slow: tens of messages a second.
#[derive(Debug)]
pub struct Moto {
    server: SqsServer,
    keeper: Child,
    _folder: TempDir,
}

impl Moto {
    /// The emulator of this test process, started by the first who asks.
    pub async fn shared() -> &'static Moto {
        static SHARED: OnceCell<Moto> = OnceCell::const_new();
        SHARED.get_or_init(Moto::start).await
    }

    /// An emulator of the test's own.
    pub async fn start() -> Moto {
        let addr = bind_free_ports(1)[0].local_addr().expect("it is bound");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut keeper = Command::new("sh");
        keeper.arg("-c").arg(include_str!("keeper.sh")).arg("keeper").arg(folder.path().join("pid"));
        keeper.arg(moto_server()).args(["-H", "127.0.0.1", "-p", &addr.port().to_string()]);
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: what ends the tests by a signal leaves the keeper, which cleans up.
        keeper.process_group(0);
        let keeper = keeper.spawn().expect("sh can be run");
        let moto = Moto { server: SqsServer::at(addr), keeper, _folder: folder };
        let deadline = Instant::now() + START_LIMIT;
        while moto.call("ListQueues", json!({})).await.0 != 200 {
            assert!(Instant::now() < deadline, "moto does not answer within {START_LIMIT:?}");
            sleep(Duration::from_millis(50)).await;
        }
        moto
    }
}

impl Deref for Moto {
    type Target = SqsServer;

    fn deref(&self) -> &SqsServer {
        &self.server
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // At the end of its input the keeper kills the emulator, and ends.
        drop(self.keeper.stdin.take());
        crate::program::ended(&mut self.keeper);
    }
}
