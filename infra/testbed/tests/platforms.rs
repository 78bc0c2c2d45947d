//! The stand-ins for platforms: what they are sure to do to a function.
#![expect(clippy::unwrap_used, reason = "also in helpers, a failure is the test's")]

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use testbed::{AzureHost, LambdaApi, Mode, eventually, in_time, pika_python};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(10);

/// A handler that answers every request with its target and headers as it saw them, and its body.
const MIRROR: &str = r#"
import http.server, os

class Mirror(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = b""
        if "content-length" in self.headers:
            body = self.rfile.read(int(self.headers["content-length"]))
        elif self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        answer = f"{self.path}\n{self.headers}".encode() + body
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    # Whatever it answers to the host's own question, the host is content.
    def do_GET(self):
        self.send_error(404)

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["FUNCTIONS_CUSTOMHANDLER_PORT"])), Mirror).serve_forever()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_azure_host_proxies_a_request_as_it_is() {
    let (host, _folder) = mirror(Mode::Proxying).await;
    let seen =
        send(host.addr(), "/api/x?a=1&a=%2B&&", "x-azure-functions-invocationid: mine\r\nx-a: 1\r\nx-a: 2\r\n").await;
    assert!(seen.contains("\n/api/x?a=1&a=%2B&&\n") && seen.ends_with("\n\nin pieces"), "{seen}");
    assert!(seen.contains("x-a: 1, 2\n") && !seen.contains("mine"), "{seen}");
    assert!(seen.contains("x-forwarded-for: 127.0.0.1:") && !seen.contains("Azure-Functions-Host"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_azure_host_that_forwards_loses_what_it_is_known_to_lose() {
    let (host, _folder) = mirror(Mode::Forwarding).await;
    let seen = send(host.addr(), "/api/x?a=1&a=%2B&&", "user-agent: me\r\ncontent-encoding: gzip\r\n").await;
    assert!(seen.contains("\n/api/x?a=1%2C%2B\n") && seen.ends_with("\n\n"), "{seen}");
    assert!(seen.contains("user-agent: me Azure-Functions-Host/4.") && !seen.contains("gzip"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_azure_host_replaces_a_handler_that_dies() {
    let (host, _folder) = mirror(Mode::Proxying).await;
    let first = host.handler_process().await;
    assert!(std::process::Command::new("kill").args(["-9", &first.to_string()]).status().unwrap().success());
    eventually("another one is started", SOON, async || (host.starts() == 2).then_some(())).await;
    assert!(send(host.addr(), "/api/x", "").await.ends_with("in pieces"));
    assert_ne!(host.handler_process().await, first);
}

#[tokio::test]
async fn an_emulated_lambda_leaves_nothing_behind() {
    let api = LambdaApi::start().await;
    let addr = api.addr();
    assert!(api.log().contains("starting Runtime server"), "{}", api.log());
    drop(api);
    eventually("its port is closed", SOON, async || TcpStream::connect(addr).await.err()).await;
}

/// The host, and the folder with its handler: a module that Python runs before anything else.
async fn mirror(mode: Mode) -> (AzureHost, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sitecustomize.py"), MIRROR).unwrap();
    let variables = [("PYTHONPATH", folder.path().to_str().unwrap()), ("PYTHONDONTWRITEBYTECODE", "1")];
    (AzureHost::start(mode, pika_python(), variables).await, folder)
}

/// What the handler saw of a request whose body came in chunks.
async fn send(addr: SocketAddr, target: &str, headers: &str) -> String {
    let head = format!("POST {target} HTTP/1.1\r\nhost: hooks.example\r\nconnection: close\r\n{headers}");
    let body = "transfer-encoding: chunked\r\n\r\n3\r\nin \r\n6\r\npieces\r\n0\r\n\r\n";
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    in_time("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer.replace("\r\n", "\n")
}
