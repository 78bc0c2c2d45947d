//! One RabbitMQ node on disk: its ports, folder, certificates and settings, and the commands that run in it.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::tools::{Installation, Version};

pub(crate) const USER: &str = "tester";

/// Where a folder of the node is mounted inside a root folder of its own.
const MOUNT: &str = "/mnt";

/// Enters a root folder ($1) with the node's folder ($2) mounted in it, and becomes the rest of the arguments.
/// The mounts are private to the process and vanish with it.
const ENTER_ROOT: &str = r#"
root=$1 folder=$2
shift 2
mount --rbind /proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --bind "$folder" "$root/mnt" || exit
exec chroot "$root" "$@"
"#;

/// The ports of one node: out of reach for outgoing connections, which could take one while the node is down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) amqp: u16,
    pub(crate) amqps: u16,
    pub(crate) management: u16,
    pub(crate) management_tls: u16,
    distribution: u16,
    epmd: u16,
    first_of_ctl: u16,
    last_of_ctl: u16,
}

/// A node's files, and the guardian that runs it and ends it with this process.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) ports: Ports,
    pub(crate) password: String,
    folder: PathBuf,
    installation: Installation,
    guardian: Child,
    orders: Mutex<std::process::ChildStdin>,
}

impl Ports {
    const BLOCK: u16 = 16;

    fn free() -> Ports {
        let first = bind_free_ports(Ports::BLOCK)[0].local_addr().expect("it is bound").port();
        Ports {
            amqp: first,
            amqps: first + 1,
            management: first + 2,
            management_tls: first + 3,
            distribution: first + 4,
            epmd: first + 5,
            first_of_ctl: first + 6,
            last_of_ctl: first + Ports::BLOCK - 1,
        }
    }
}

/// Ports that this process has given to anybody. They may be free for a while, as that of a proxy that is cut.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Listeners on `count` neighbouring ports of 127.0.0.1 that were free, below the range that the system hands out. Nobody
/// in this process gets the same ones again.
pub(crate) fn bind_free_ports(count: u16) -> Vec<TcpListener> {
    const LOWEST: u64 = 10_000;
    const HIGHEST: u64 = 32_767;
    const ATTEMPTS: usize = 1000;
    for _ in 0..ATTEMPTS {
        let first = LOWEST + random() % (HIGHEST - LOWEST - u64::from(count));
        let first = u16::try_from(first).expect("ports have 16 bits");
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.range(first..first + count).next().is_some() {
            continue;
        }
        let bound = (first..first + count).map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        if let Ok(listeners) = bound {
            taken.extend(first..first + count);
            return listeners;
        }
    }
    panic!("no {count} neighbouring ports are free between {LOWEST} and {HIGHEST} on 127.0.0.1");
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Node {
    /// Writes the files of a new node and starts its guardian, but not yet the node.
    pub(crate) fn prepare(version: Version, settings: &[(&str, u32)]) -> Node {
        let installation = version.installation();
        let ports = Ports::free();
        let password = format!("{:016x}", random());
        let folder = tempfile::Builder::new().prefix("webhook-queue-broker-").tempdir().expect("a temporary folder");
        write_settings(folder.path(), &inside(&installation, folder.path()), ports, &password, settings);
        write_certificates(folder.path(), &["localhost", "127.0.0.1"]);

        // From here on the guardian removes the folder.
        let folder = folder.keep();
        let out = fs::File::create(folder.join("out")).expect("the temporary folder is writable");
        let mut guardian = Command::new("sh");
        guardian.arg("-c").arg(include_str!("guardian.sh")).arg("guardian").arg(&folder);
        guardian.args(command(&installation, &folder, "rabbitmq-server"));
        guardian.env_clear().envs(environment(ports, &inside(&installation, &folder)));
        guardian.stdin(Stdio::piped()).stdout(out.try_clone().expect("a second handle")).stderr(out);
        // A group of its own: an interrupt from the terminal ends the tests, and then the guardian cleans up.
        guardian.process_group(0);
        let mut guardian = guardian.spawn().expect("sh can be run");
        let orders = Mutex::new(guardian.stdin.take().expect("standard input is a pipe"));
        Node { ports, password, folder, installation, guardian, orders }
    }

    /// Tells the guardian to `start` or `kill` the Erlang VM.
    pub(crate) fn order(&self, order: &str) {
        if order == "start" {
            let _ = fs::remove_file(self.folder.join("vm"));
        }
        let mut orders = self.orders.lock().expect("no order panics");
        writeln!(orders, "{order}").expect("the guardian lives as long as this process");
    }

    /// Whether the Erlang VM has ended after it was started.
    pub(crate) fn has_ended(&self) -> bool {
        let Ok(pid) = fs::read_to_string(self.folder.join("vm")) else { return false };
        let Ok(pid) = pid.trim().parse::<u32>() else { return false };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
        stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']))
    }

    /// The process that watches over the Erlang VM.
    pub(crate) fn guardian(&self) -> u32 {
        self.guardian.id()
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A command that runs one of RabbitMQ's own programs against this node.
    pub(crate) fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut words = command(&self.installation, &self.folder, program).into_iter();
        let mut command = Command::new(words.next().expect("the program's name"));
        command.args(words).args(arguments);
        command.env_clear().envs(environment(self.ports, &inside(&self.installation, &self.folder)));
        command
    }

    /// The last lines that the node wrote, for the message of a failed start.
    pub(crate) fn last_words(&self) -> String {
        let logs = fs::read_dir(self.folder.join("log")).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut words = String::new();
        for path in std::iter::once(self.folder.join("out")).chain(logs) {
            let text = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(30)..].join("\n");
            words.push_str(&format!("\n--- {}\n{tail}", path.display()));
        }
        words
    }
}

/// The node's folder as its own processes see it.
fn inside(installation: &Installation, folder: &Path) -> PathBuf {
    if installation.root.is_some() { PathBuf::from(MOUNT) } else { folder.to_owned() }
}

/// The words of a command line that runs one of RabbitMQ's programs, in its own root folder where it has one.
fn command(installation: &Installation, folder: &Path, program: &str) -> Vec<OsString> {
    let program = installation.programs.join(program).into_os_string();
    let Some(root) = &installation.root else { return vec![program] };
    // Only root may mount and change the root folder; others can in a user namespace.
    let mut words: Vec<OsString> =
        ["unshare", "--mount", "--map-root-user", "sh", "-c", ENTER_ROOT, "sh"].map(OsString::from).into();
    if is_root() {
        words.retain(|word| word != "--map-root-user");
    }
    words.extend([root.clone().into_os_string(), folder.as_os_str().to_owned(), program]);
    words
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Everything that would otherwise come from /etc/rabbitmq, /var/lib/rabbitmq or a default port.
fn environment(ports: Ports, folder: &Path) -> Vec<(&'static str, OsString)> {
    let file = |name: &str| folder.join(name).into_os_string();
    let text = |text: &dyn ToString| OsString::from(text.to_string());
    vec![
        ("PATH", text(&"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
        ("LANG", text(&"C.UTF-8")),
        ("HOME", file("home")),
        ("ERL_INETRC", file("inetrc")),
        ("ERL_EPMD_PORT", text(&ports.epmd)),
        ("ERL_EPMD_ADDRESS", text(&"127.0.0.1")),
        ("RABBITMQ_NODENAME", text(&format!("node{}@localhost", ports.amqp))),
        ("RABBITMQ_NODE_IP_ADDRESS", text(&"127.0.0.1")),
        ("RABBITMQ_NODE_PORT", text(&ports.amqp)),
        ("RABBITMQ_DIST_PORT", text(&ports.distribution)),
        ("RABBITMQ_CTL_DIST_PORT_MIN", text(&ports.first_of_ctl)),
        ("RABBITMQ_CTL_DIST_PORT_MAX", text(&ports.last_of_ctl)),
        ("RABBITMQ_CONF_ENV_FILE", text(&"/dev/null")),
        ("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", file("advanced.config")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins")),
        ("RABBITMQ_MNESIA_BASE", file("data")),
        ("RABBITMQ_LOG_BASE", file("log")),
        ("RABBITMQ_PID_FILE", file("pid")),
        // Makes the start script become the VM instead of waiting for it.
        ("RUNNING_UNDER_SYSTEMD", text(&"true")),
        // Idle schedulers must not spin beside the tests.
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            text(&"+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"),
        ),
    ]
}

fn write_settings(folder: &Path, inside: &Path, ports: Ports, password: &str, settings: &[(&str, u32)]) {
    let write = |name: &str, content: &str| fs::write(folder.join(name), content).expect("the folder is writable");
    let inside = inside.display();
    let Ports { amqp, amqps, management, management_tls, .. } = ports;
    fs::create_dir(folder.join("home")).expect("the folder is writable");
    write("home/.erlang.cookie", &format!("{:016X}", random()));
    fs::set_permissions(folder.join("home/.erlang.cookie"), fs::Permissions::from_mode(0o400)).expect("own file");
    let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{{{name}, {value}}}")).collect();
    write("advanced.config", &format!("[{{rabbit, [{}]}}].\n", settings.join(", ")));
    write("enabled_plugins", "[rabbitmq_management].\n");
    // For each publish through the management API a node looks up its own host's name. A name server that is slow to
    // answer would stall it.
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("this is Linux");
    write("inetrc", &format!("{{lookup, [file]}}.\n{{host, {{127,0,0,1}}, [\"localhost\", \"{}\"]}}.\n", host.trim()));
    write(
        "rabbitmq.conf",
        &format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
             listeners.ssl.1 = 127.0.0.1:{amqps}\n\
             ssl_options.cacertfile = {inside}/ca.pem\n\
             ssl_options.certfile = {inside}/server.pem\n\
             ssl_options.keyfile = {inside}/server.key\n\
             ssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = false\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management}\n\
             management.ssl.ip = 127.0.0.1\n\
             management.ssl.port = {management_tls}\n\
             management.ssl.cacertfile = {inside}/ca.pem\n\
             management.ssl.certfile = {inside}/server.pem\n\
             management.ssl.keyfile = {inside}/server.key\n\
             collect_statistics_interval = 1000\n\
             log.console = false\n\
             disk_free_limit.absolute = 50MB\n\
             default_user = {USER}\n\
             default_pass = {password}\n"
        ),
    );
}

/// A private certificate authority, and a server's certificate from it: `ca.pem`, `server.pem` and `server.key`.
pub(crate) fn write_certificates(folder: &Path, names: &[&str]) {
    let key = || KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(authority, key()).expect("a certificate authority");
    let server_key = key();
    let mut server =
        CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names of a server");
    server.distinguished_name.push(DnType::CommonName, names[0]);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = server.signed_by(&server_key, &authority).expect("a certificate");
    for (name, content) in
        [("ca.pem", authority.pem()), ("server.pem", server.pem()), ("server.key", server_key.serialize_pem())]
    {
        fs::write(folder.join(name), content).expect("the folder is writable");
    }
}
