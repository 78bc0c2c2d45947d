//! What `infra/check` installs, and where it is found.

use std::path::{Path, PathBuf};

/// Which RabbitMQ a test runs against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.10, from Debian 12's package.
    V3,
    /// 4.x, from Debian 13's package in a folder of its own.
    V4,
}

/// Where a RabbitMQ is installed.
#[derive(Debug)]
pub(crate) struct Installation {
    /// The root folder that it must be run in: none for the system's own.
    pub(crate) root: Option<PathBuf>,
    /// The folder of its programs, seen from inside that root.
    pub(crate) programs: PathBuf,
}

/// Every version to test: all of them, unless `infra/check` could not make 4.x here and says so itself by setting
/// `WITHOUT_RABBITMQ_4`.
pub fn versions() -> Vec<Version> {
    if has_v4() { vec![Version::V3, Version::V4] } else { vec![Version::V3] }
}

/// Whether RabbitMQ 4.x is to be tested.
pub fn has_v4() -> bool {
    std::env::var_os("WITHOUT_RABBITMQ_4").is_none()
}

/// A Python interpreter that can `import pika`.
///
/// # Panics
/// When there is none.
pub fn pika_python() -> PathBuf {
    let pika = Path::new("/usr/lib/python3/dist-packages/pika");
    assert!(pika.exists(), "there is no {} (Debian's python3-pika): run infra/check setup", pika.display());
    PathBuf::from("/usr/bin/python3")
}

/// moto's server, an emulator of AWS.
///
/// # Panics
/// When there is none.
pub fn moto_server() -> PathBuf {
    installed("venv/moto/bin/moto_server")
}

/// The program `cargo-lambda`, whose `watch` stands in for Lambda.
///
/// # Panics
/// When there is none.
pub fn cargo_lambda() -> PathBuf {
    installed("venv/cargo-lambda/bin/cargo-lambda")
}

/// Node, and the folder in which it finds the providers' libraries.
///
/// # Panics
/// When there is none.
pub fn node_senders() -> (PathBuf, PathBuf) {
    installed("senders/installed");
    (installed("venv/node/bin/node"), cache().join("senders"))
}

/// A Python interpreter that can import the providers' libraries.
///
/// # Panics
/// When there is none.
pub fn python_senders() -> PathBuf {
    installed("venv/senders/bin/python")
}

impl Version {
    pub(crate) fn installation(self) -> Installation {
        let (root, start, needed) = match self {
            Version::V3 => (None, "rabbitmq_server-3.", "RabbitMQ 3.10 (Debian 12's rabbitmq-server)"),
            Version::V4 => (Some(cache().join("rabbitmq-4")), "rabbitmq_server-4.", "RabbitMQ 4.x"),
        };
        let inside = Path::new("usr/lib/rabbitmq/lib");
        let folder = root.as_deref().unwrap_or(Path::new("/")).join(inside);
        let names = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let name = names.map(|entry| entry.file_name()).find(|name| name.to_string_lossy().starts_with(start));
        let Some(name) = name else { panic!("{needed} is not in {}: run infra/check setup", folder.display()) };
        Installation { root, programs: Path::new("/").join(inside).join(name).join("sbin") }
    }
}

/// What `infra/check` has put there.
fn installed(path: &str) -> PathBuf {
    let program = cache().join(path);
    assert!(program.exists(), "there is no {}: run infra/check setup", program.display());
    program
}

/// The folder that `infra/check` keeps its tools in.
fn cache() -> PathBuf {
    std::env::var_os("WEBHOOK_QUEUE_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("HOME or WEBHOOK_QUEUE_CACHE is set");
        Path::new(&home).join(".cache/webhook-queue")
    })
}
