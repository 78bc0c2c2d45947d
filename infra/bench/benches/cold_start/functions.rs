//! The three functions: how each is built, and how it is started.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// What is uploaded, without the platform's own runtime.
    pub(crate) zip_bytes: u64,
    program: PathBuf,
    argument: Option<PathBuf>,
}

impl Function {
    pub(crate) fn start(&self, runtime_api: SocketAddr, queue_url: &str) -> Child {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Command::new(&self.program)
            .args(&self.argument)
            .env_clear()
            .envs([("PATH", &*path)])
            .envs([("AWS_LAMBDA_RUNTIME_API", &*runtime_api.to_string()), ("QUEUE_URL", queue_url)])
            .envs([("AWS_LAMBDA_FUNCTION_NAME", "webhooks"), ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")])
            .envs([
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
                ("SOURCE_SHOP_OPEN", "yes"),
                ("RUST_LOG", "warn,lapin=off"),
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }
}

/// The artefact as it is deployed, unpacked.
pub(crate) fn ours() -> Function {
    let folder = folder("ours");
    // Where cargo-lambda is, and its linker.
    let path = path_before(testbed::cargo_lambda().parent().unwrap());
    let output = Command::new(workspace().join("infra/aws/build"))
        .env("PATH", path)
        .current_dir(workspace())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "infra/aws/build: {}", output.status);
    let zip = workspace().join(String::from_utf8(output.stdout).unwrap().trim());
    must(Command::new("python3").args(["-m", "zipfile", "-e"]).args([&zip, &folder]));
    let program = folder.join("bootstrap");
    must(Command::new("chmod").arg("+x").arg(&program));
    Function { name: "webhook-forwarder", zip_bytes: bytes(&zip), program, argument: None }
}

/// Whatever `node` is first on the PATH.
pub(crate) fn node() -> Function {
    let folder = folder("node");
    for file in ["index.js", "package.json", "package-lock.json"] {
        std::fs::copy(sources().join("node").join(file), folder.join(file)).unwrap();
    }
    must(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder));
    let zip_bytes = zip(&folder, &["index.js", "package.json", "node_modules"]);
    Function {
        name: version("node", "Node"),
        zip_bytes,
        program: "node".into(),
        argument: Some(folder.join("index.js")),
    }
}

/// Debian's own, with its pika.
pub(crate) fn python() -> Function {
    let folder = folder("python");
    let pika = "/usr/lib/python3/dist-packages/pika";
    must(Command::new("cp").arg("-r").arg(sources().join("python/index.py")).arg(pika).arg(&folder));
    let zip_bytes = zip(&folder, &["index.py", "pika"]);
    let python = testbed::pika_python();
    Function {
        name: version(python.to_str().unwrap(), ""),
        zip_bytes,
        program: python,
        argument: Some(folder.join("index.py")),
    }
}

fn path_before(folder: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path))).unwrap()
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cold-start")
}

/// An empty folder to build in.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cold-start").join(name);
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn version(program: &str, prefix: &str) -> &'static str {
    let output = Command::new(program).arg("--version").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    Box::leak(format!("{prefix} {}", version.trim()).trim().to_owned().into_boxed_str())
}

fn zip(folder: &Path, entries: &[&str]) -> u64 {
    let zip = folder.join("function.zip");
    must(Command::new("python3").args(["-m", "zipfile", "-c"]).arg(&zip).args(entries).current_dir(folder));
    bytes(&zip)
}

fn bytes(file: &Path) -> u64 {
    std::fs::metadata(file).unwrap().len()
}

fn must(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
