//! AWS Lambda, as `cargo lambda watch` stands in for it: the runtime API that a function polls, and the Function URL that
//! its callers use.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::http::exchange;
use crate::node::bind_free_ports;
use crate::tools::cargo_lambda;
use crate::wait::eventually;

const START_LIMIT: Duration = Duration::from_secs(30);
/// A call that no function fetches is never answered.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// An emulated Lambda on 127.0.0.1, for one function. It ends with this value, or with the test process.
#[derive(Debug)]
pub struct LambdaApi {
    addr: SocketAddr,
    keeper: Child,
    folder: PathBuf,
}

impl LambdaApi {
    /// Starts one on a port of its own.
    pub async fn start() -> LambdaApi {
        let addr = bind_free_ports(1)[0].local_addr().expect("it is bound");
        let folder = tempfile::Builder::new().prefix("webhook-queue-lambda-").tempdir().expect("a temporary folder");
        // From here on the keeper removes it.
        let folder = folder.keep();
        // It wants to be inside a package.
        let package = "[package]\nname = \"function\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
        std::fs::write(folder.join("Cargo.toml"), package).expect("the folder is writable");
        std::fs::create_dir(folder.join("src")).expect("the folder is writable");
        std::fs::write(folder.join("src/main.rs"), "fn main() {}\n").expect("the folder is writable");
        let log = std::fs::File::create(folder.join("log")).expect("the folder is writable");
        let mut keeper = Command::new("sh");
        keeper.arg("-c").arg(include_str!("keeper.sh")).arg("keeper").arg(&folder);
        keeper.arg(cargo_lambda()).args(["lambda", "watch", "--only-lambda-apis", "--disable-cors"]);
        keeper.args(["--invoke-address", "127.0.0.1", "--invoke-port", &addr.port().to_string()]);
        keeper.current_dir(&folder).stdin(Stdio::piped());
        // A group of its own: an interrupt from the terminal ends the tests, and then the keeper cleans up.
        keeper.process_group(0);
        keeper.stdout(log.try_clone().expect("a second handle")).stderr(log);
        let api = LambdaApi { addr, keeper: keeper.spawn().expect("sh can be run"), folder };
        eventually("cargo lambda watch listens", START_LIMIT, async || TcpStream::connect(addr).await.ok()).await;
        api
    }

    /// Where the function's callers send their requests, as to a Function URL.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What Lambda puts into a function's environment.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_LAMBDA_RUNTIME_API", format!("http://{}/.rt", self.addr)),
            ("AWS_LAMBDA_FUNCTION_NAME", "_".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned()),
        ]
    }

    /// Invokes the function with an event. `Err` holds what the function said when the invocation failed.
    pub async fn invoke(&self, event: &[u8]) -> Result<Value, Value> {
        let request = Request::post("/2015-03-31/functions/_/invocations")
            .header("host", self.addr.to_string())
            .body(Full::new(Bytes::copy_from_slice(event)))
            .expect("a request");
        let answer = exchange(self.addr, request, CALL_LIMIT).await.expect("the emulator answers");
        let body = serde_json::from_slice(answer.body()).expect("functions answer in JSON");
        if answer.status() == 200 { Ok(body) } else { Err(body) }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for LambdaApi {
    fn drop(&mut self) {
        // At the end of its input the keeper kills the emulator, and ends.
        drop(self.keeper.stdin.take());
        crate::program::ended(&mut self.keeper);
    }
}
