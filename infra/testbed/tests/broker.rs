//! The brokers that everything else is tested against.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Broker, Program, Version, eventually, pika_python, run, versions};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_message_goes_in_and_comes_out() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost().await;
        vhost.declare_exchange("hooks", "direct").await;
        vhost.declare_queue("in/box", json!({"x-message-ttl": 60_000})).await;
        vhost.bind("hooks", "in/box", "key").await;
        assert!(vhost.publish("hooks", "key", json!({"type": "t"}), &[0, 255]).await);
        let message = vhost.get("in/box").await.unwrap();
        assert_eq!(message["payload"], "AP8=");
        assert_eq!(message["properties"]["type"], "t");
        assert!(vhost.get("in/box").await.is_none());
        assert_eq!(vhost.queue("in/box").await.unwrap()["arguments"]["x-message-ttl"], 60_000);

        vhost.unbind("hooks", "in/box", "key").await;
        assert!(!vhost.publish("hooks", "key", json!({}), b"").await);
        vhost.delete_exchange("hooks").await;
        vhost.delete_queue("in/box").await;
        assert!(vhost.queue("in/box").await.is_none());
    }
}

#[tokio::test]
async fn each_version_is_what_it_says() {
    for version in versions() {
        let (_, overview) = Broker::shared(version).await.vhost().await.api("GET", "overview", None).await;
        let expected = match version {
            Version::V3 => "3.",
            Version::V4 => "4.",
        };
        assert!(overview["rabbitmq_version"].as_str().unwrap().starts_with(expected), "{overview}");
    }
}

#[tokio::test]
async fn a_virtual_host_is_fresh() {
    let broker = Broker::shared(Version::V3).await;
    let (one, two) = (broker.vhost().await, broker.vhost().await);
    one.declare_queue("only-here", Value::Null).await;
    assert!(two.queue("only-here").await.is_none());
}

#[tokio::test]
async fn a_persistent_message_outlives_the_broker() {
    for version in versions() {
        let broker = Broker::start(version).await;
        let vhost = broker.vhost().await;
        for kind in ["classic", "quorum"] {
            vhost.declare_queue(kind, json!({"x-queue-type": kind})).await;
            assert!(vhost.publish("", kind, json!({}), b"kept").await);
        }
        // A publish through the management API is not confirmed to us: this is its proof.
        for kind in ["classic", "quorum"] {
            eventually("the message is counted", SOON, async || {
                (vhost.queue(kind).await?["messages_persistent"] == 1 || vhost.queue(kind).await?["messages"] == 1)
                    .then_some(())
            })
            .await;
        }
        broker.let_definitions_settle().await;
        broker.kill().await;
        assert_eq!(vhost.api("GET", "overview", None).await.0, 0);
        broker.restart().await;
        for kind in ["classic", "quorum"] {
            let message = eventually("the message is still there", SOON, async || vhost.get(kind).await).await;
            assert_eq!(message["payload"], "a2VwdA==");
        }
    }
}

#[tokio::test]
async fn the_memory_alarm_is_raised_and_cleared() {
    for version in versions() {
        let broker = Broker::start(version).await;
        broker.memory_alarm(true).await;
        assert!(broker.ctl(&["-q", "status", "--formatter", "json"]).await.contains("memory"));
        broker.memory_alarm(false).await;
    }
}

#[tokio::test]
async fn pika_can_connect_in_plain_text_and_in_tls() {
    for version in versions() {
        let broker = Broker::shared(version).await;
        let vhost = broker.vhost().await;
        let script = "import pika, ssl, sys\n\
                      plain = pika.URLParameters(sys.argv[1])\n\
                      secret = pika.URLParameters(sys.argv[2])\n\
                      context = ssl.create_default_context(cafile=sys.argv[3])\n\
                      secret.ssl_options = pika.SSLOptions(context, 'localhost')\n\
                      for parameters in [plain, secret]: pika.BlockingConnection(parameters).channel()\n";
        let mut python = Command::new(pika_python());
        python.args(["-c", script, &vhost.amqp_url(), &vhost.amqps_url()]).arg(broker.ca_file());
        let python = run(&mut python);
        assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    }
}

#[tokio::test]
async fn a_broker_dies_with_its_process() {
    for version in ["3", "4"].into_iter().take(versions().len()) {
        let mut program = Program::start(Command::new(env!("CARGO_BIN_EXE_testbed")).arg(version));
        let ready = std::time::Instant::now() + Duration::from_secs(120);
        let lines = [(); 2].map(|()| program.line(ready).unwrap());
        let addr = lines[0].split(['@', '/']).nth(3).unwrap();
        let folder = Path::new(lines[1].split_once("QUEUE_CA_FILE=").unwrap().1).parent().unwrap();
        assert!(TcpStream::connect(addr).await.is_ok(), "{addr} answers");
        assert!(folder.exists());

        program.kill();
        eventually("no process and no file is left", SOON, async || {
            let left = run(Command::new("pgrep").arg("-f").arg(folder)).stdout;
            (left.is_empty() && !folder.exists() && TcpStream::connect(addr).await.is_err()).then_some(())
        })
        .await;
    }
}
