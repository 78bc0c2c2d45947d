//! The proxy that breaks the network.
#![expect(clippy::unwrap_used, reason = "also in helpers, a failure is the test's")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use testbed::{Proxy, eventually, in_time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(5);
/// Long enough for a byte to cross loopback many times over.
const A_WHILE: Duration = Duration::from_millis(200);

#[tokio::test]
async fn bytes_and_ends_pass_through() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut reader, mut writer) = client.split();
    let mut received = Vec::new();
    let echoed = async {
        tokio::join!(
            async {
                writer.write_all(&sent).await?;
                writer.shutdown().await
            },
            reader.read_to_end(&mut received)
        )
    };
    let (written, read) = in_time("all of it comes back", echoed).await;
    written.unwrap();
    read.unwrap();
    assert!(received == sent, "{} of {} bytes came back", received.len(), sent.len());
}

#[tokio::test]
async fn a_cut_resets_connections_and_refuses_new_ones_until_healed() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(echoes(&mut client, b"before").await);
    proxy.cut();
    let ended = timeout(SOON, client.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
    eventually("new connections are refused", SOON, async || {
        let error = TcpStream::connect(proxy.addr()).await.err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    })
    .await;
    proxy.heal();
    let mut client =
        eventually("it can be reached again", SOON, async || TcpStream::connect(proxy.addr()).await.ok()).await;
    assert!(echoes(&mut client, b"after").await);
}

#[tokio::test]
async fn a_short_cut_is_not_missed() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(echoes(&mut client, b"before").await);
    proxy.cut();
    proxy.heal();
    assert!(timeout(SOON, client.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_stall_is_silent_and_loses_nothing_when_healed() {
    let proxy = Proxy::start(echo().await).await;
    let mut old = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(echoes(&mut old, b"before").await);
    proxy.stall();
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    for client in [&mut old, &mut new] {
        client.write_all(b"stalled").await.unwrap();
        assert!(timeout(A_WHILE, client.read_u8()).await.is_err(), "neither a byte nor an end");
    }
    proxy.heal();
    for client in [&mut old, &mut new] {
        let mut answer = [0; 7];
        timeout(SOON, client.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"stalled");
    }
}

#[tokio::test]
async fn what_is_forgotten_is_silent_for_good_and_new_connections_pass() {
    let proxy = Proxy::start(echo().await).await;
    let mut old = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(echoes(&mut old, b"before").await);
    proxy.forget();
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(echoes(&mut new, b"after").await);
    proxy.heal();
    old.write_all(b"lost").await.unwrap();
    assert!(timeout(A_WHILE, old.read_u8()).await.is_err(), "neither a byte nor an end");
}

#[tokio::test]
async fn a_delay_is_kept_each_way_and_holds_nothing_up() {
    const EACH_WAY: Duration = Duration::from_millis(50);
    let proxy = Proxy::start(echo().await).await;
    proxy.delay(EACH_WAY);
    let began = Instant::now();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(echoes(&mut client, b"first").await);
    assert!(began.elapsed() >= EACH_WAY * 4, "{:?}", began.elapsed());
    let began = Instant::now();
    for _ in 0..10 {
        client.write_all(b"0123456789").await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = [0; 100];
    timeout(SOON, client.read_exact(&mut answer)).await.unwrap().unwrap();
    assert!(began.elapsed() >= EACH_WAY * 2, "{:?}", began.elapsed());
    assert!(began.elapsed() < EACH_WAY * 10, "pieces wait for each other: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_stalled_connection_can_be_cut() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(echoes(&mut client, b"before").await);
    proxy.stall();
    proxy.cut();
    assert!(timeout(SOON, client.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn nobody_behind_it_is_a_reset() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(nobody).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(timeout(SOON, client.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_dropped_proxy_is_gone() {
    let proxy = Proxy::start(echo().await).await;
    let addr = proxy.addr();
    let mut client = TcpStream::connect(addr).await.unwrap();
    assert!(echoes(&mut client, b"before").await);
    drop(proxy);
    assert!(timeout(SOON, client.read_u8()).await.unwrap().is_err());
    eventually("its port is closed", SOON, async || TcpStream::connect(addr).await.err()).await;
}

async fn echoes(client: &mut TcpStream, bytes: &[u8]) -> bool {
    let mut answer = vec![0; bytes.len()];
    client.write_all(bytes).await.is_ok()
        && timeout(SOON, client.read_exact(&mut answer)).await.is_ok_and(|read| read.is_ok())
        && answer == bytes
}

/// A server that sends back whatever it receives.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
        }
    });
    addr
}
