//! A private RabbitMQ broker.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::management::Management;
use crate::node::{Node, USER};
use crate::tools::Version;
use crate::vhost::Vhost;
use crate::wait::eventually;

/// How long a node may take to be ready: a start is a matter of seconds, on a busy machine of half a minute.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How often a node that ends while it starts (a port was taken in the meantime) is made anew.
const START_ATTEMPTS: usize = 3;

/// Twice the time in which a broker was seen to forget.
const DEFINITIONS_SETTLE: Duration = Duration::from_secs(6);

/// One RabbitMQ node of its own, with TLS and the management API, all on 127.0.0.1.
///
/// It is killed and its folder removed when this value is dropped or the process ends in any way.
#[derive(Debug)]
pub struct Broker {
    node: Node,
    management: Management,
    ca_file: PathBuf,
    vhosts: AtomicUsize,
}

enum NotReady {
    Ended(String),
    TooSlow(String),
}

impl Broker {
    /// The broker of this test process for `version`, started by the first who asks: for tests that do not break it.
    pub async fn shared(version: Version) -> &'static Broker {
        static V3: OnceCell<Broker> = OnceCell::const_new();
        static V4: OnceCell<Broker> = OnceCell::const_new();
        let cell = match version {
            Version::V3 => &V3,
            Version::V4 => &V4,
        };
        cell.get_or_init(|| Broker::start(version)).await
    }

    /// A broker of the test's own, to be broken.
    pub async fn start(version: Version) -> Broker {
        Broker::start_with(version, &[]).await
    }

    /// As [`Broker::start`], with settings of its `rabbit` application, those too that `rabbitmq.conf` does not know.
    pub async fn start_with(version: Version, settings: &[(&str, u32)]) -> Broker {
        let mut attempt = 1;
        loop {
            let broker = Broker::prepare(version, settings);
            broker.node.order("start");
            match broker.ready().await {
                Ok(()) => return broker,
                Err(NotReady::Ended(_)) if attempt < START_ATTEMPTS => attempt += 1,
                Err(NotReady::Ended(why) | NotReady::TooSlow(why)) => panic!("{version:?}: {why}"),
            }
        }
    }

    fn prepare(version: Version, settings: &[(&str, u32)]) -> Broker {
        let node = Node::prepare(version, settings);
        let management = Management { addr: local(node.ports.management), password: node.password.clone() };
        Broker { management, ca_file: node.ca_file(), vhosts: AtomicUsize::new(0), node }
    }

    /// A fresh virtual host, in which the default names are free.
    pub async fn vhost(&self) -> Vhost {
        self.vhost_named("test").await
    }

    /// As [`Broker::vhost`], with a name that begins like this.
    pub async fn vhost_named(&self, start: &str) -> Vhost {
        let name = format!("{start}-{}", self.vhosts.fetch_add(1, Ordering::Relaxed) + 1);
        let vhost = Vhost::new(name, self.node.ports, self.management.clone());
        vhost.create().await;
        vhost
    }

    /// Where it speaks AMQP in plain text.
    pub fn amqp_addr(&self) -> SocketAddr {
        local(self.node.ports.amqp)
    }

    /// Where it speaks AMQP in TLS, with a certificate for `localhost` and 127.0.0.1 from [`Broker::ca_file`].
    pub fn amqps_port(&self) -> u16 {
        self.node.ports.amqps
    }

    /// The certificate of its private authority, as PEM.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// Where its management API listens.
    pub fn management_addr(&self) -> SocketAddr {
        self.management.addr
    }

    /// The process that ends this broker when the test process is gone.
    pub fn guardian(&self) -> u32 {
        self.node.guardian()
    }

    /// Waits until what was declared just now is sure to survive [`Broker::kill`]. RabbitMQ writes its definitions down
    /// in its own time and tells nobody when: one that is killed before comes back with queues that it cannot serve.
    pub async fn let_definitions_settle(&self) {
        tokio::time::sleep(DEFINITIONS_SETTLE).await;
    }

    /// Kills the Erlang VM (SIGKILL) and waits until it is gone.
    pub async fn kill(&self) {
        self.node.order("kill");
        eventually("the killed broker is gone", Duration::from_secs(10), async || {
            (self.node.has_ended() && TcpStream::connect(self.amqp_addr()).await.is_err()).then_some(())
        })
        .await;
    }

    /// Starts it again after [`Broker::kill`], on the same data and ports, and waits until it is ready.
    pub async fn restart(&self) {
        self.node.order("start");
        if let Err(NotReady::Ended(why) | NotReady::TooSlow(why)) = self.ready().await {
            panic!("{why}");
        }
    }

    /// Raises or clears the memory alarm, under which the broker blocks publishing connections.
    pub async fn memory_alarm(&self, on: bool) {
        self.ctl(&["set_vm_memory_high_watermark", if on { "0.0001" } else { "0.4" }]).await;
        eventually("the memory alarm follows its watermark", Duration::from_secs(10), async || {
            let (status, _) = self.management.call("GET", "health/checks/local-alarms", None).await;
            (status == if on { 503 } else { 200 }).then_some(())
        })
        .await;
    }

    /// What `rabbitmqctl` prints for these arguments. It takes a second or two.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ctl(&self, args: &[&str]) -> String {
        let mut command = tokio::process::Command::from(self.node.program("rabbitmqctl", args));
        command.kill_on_drop(true);
        let output = tokio::time::timeout(START_LIMIT, command.output()).await.expect("rabbitmqctl ends");
        let output = output.expect("rabbitmqctl can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "rabbitmqctl {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    async fn ready(&self) -> Result<(), NotReady> {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if self.node.has_ended() {
                return Err(NotReady::Ended(format!("the broker ended as it started{}", self.node.last_words())));
            }
            if TcpStream::connect(self.amqp_addr()).await.is_ok() && self.is_healthy().await {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err(NotReady::TooSlow(format!("the broker is not ready after {START_LIMIT:?}{}", self.node.last_words())))
    }

    async fn is_healthy(&self) -> bool {
        self.management.call("GET", "health/checks/virtual-hosts", None).await.0 == 200
            && self.management.call("GET", &format!("permissions/%2F/{USER}"), None).await.0 == 200
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
