//! A client that sends exactly the bytes that it is told.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::PATIENCE;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A request with a body and its length. Header values are bytes.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Vec<u8> {
    let length = format!("content-length: {}\r\n\r\n", body.len());
    [&head(method, target, headers), length.as_bytes(), body].concat()
}

/// The same in pieces, without a length.
pub(crate) fn chunked(method: &str, target: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Vec<u8> {
    let mut bytes = head(method, target, headers);
    bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
    for piece in body.chunks(1000) {
        bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
        bytes.extend([piece, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

fn head(method: &str, target: &str, headers: &[(&str, &[u8])]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: hooks.example\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    head
}

/// Sends a request on a connection of its own and reads the answer.
pub(crate) async fn exchange(addr: SocketAddr, request: &[u8]) -> Answer {
    timeout(PATIENCE, try_exchange(addr, request)).await.expect("an answer in time").expect("an answer")
}

async fn try_exchange(addr: SocketAddr, request: &[u8]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(addr).await?;
    // The answer may come before the request is through.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
