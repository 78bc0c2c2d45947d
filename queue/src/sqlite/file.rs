//! The file as the operating system sees it: where it is, whether it is still the same one, who may make it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long making the file waits for another process that is making it.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(5);
/// File systems on which the locks that SQLite's write-ahead log relies on do not reach other hosts.
const NETWORK_FILE_SYSTEMS: [&str; 15] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fuse.glusterfs",
    "fuse.s3fs",
    "fuse.sshfs",
    "glusterfs",
    "lustre",
    "ncpfs",
    "orangefs",
    "smb3",
    "smbfs",
];

/// Which files a connection has open. A path can come to name another file; a commit to the old one is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    database: Option<FileId>,
    log: Option<FileId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl Identity {
    /// What `path` names now.
    pub(super) fn of(path: &Path) -> Identity {
        Identity { database: FileId::of(path), log: FileId::of(&log_path(path)) }
    }

    /// Whether there is a database at all.
    pub(super) fn exists(&self) -> bool {
        self.database.is_some()
    }

    /// Whether both have a database, and not the same.
    pub(super) fn differs(&self, other: &Identity) -> bool {
        self.exists() && other.exists() && self.database != other.database
    }
}

impl FileId {
    #[cfg(unix)]
    fn of(path: &Path) -> Option<FileId> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).ok()?;
        Some(FileId { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Where files have no number that can be asked for, an open file cannot be deleted or replaced either.
    #[cfg(not(unix))]
    fn of(path: &Path) -> Option<FileId> {
        path.exists().then_some(FileId { device: 0, inode: 0 })
    }
}

/// The write-ahead log that belongs to the database at `path`.
pub(super) fn log_path(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The path as every process of this host would write it, links resolved: SQLite puts the log beside the real file.
pub(super) fn absolute(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (path.parent().and_then(|parent| parent.canonicalize().ok()), path.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path,
    }
}

/// Holds the directory of `path` against other processes that want to make the same file. The lock is on the
/// directory because a lock file would have to stay for ever. `None` where the file system knows no such locks.
pub(super) fn lock_directory(path: &Path) -> io::Result<Option<File>> {
    let Ok(directory) = File::open(path.parent().unwrap_or(path)) else { return Ok(None) };
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(Some(directory)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::TimedOut.into()),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Renames the write-ahead log of a database that is gone: SQLite would delete it, or apply it to the successor, and
/// it may hold events. To be called with the directory locked. `previous` is what the caller had open before.
pub(super) fn set_leftovers_aside(path: &Path, previous: Option<Identity>) -> io::Result<()> {
    let current = Identity::of(path);
    let replaced = previous.is_some_and(|previous| {
        previous.database != current.database && previous.log.is_some() && previous.log == current.log
    });
    if current.exists() && !replaced {
        return Ok(());
    }
    let (log, aside) = (log_path(path), with_suffix(path, &format!("-wal.{}", super::now_ms())));
    if std::fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 0) {
        std::fs::rename(&log, &aside)?;
        tracing::warn!(log = %aside.display(), "the log of a queue's file that is gone was set aside");
    }
    match std::fs::remove_file(with_suffix(path, "-shm")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The network file system that `path` lies on, where that can be told.
pub(super) fn network_file_system(path: &Path) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let file_system = file_system_of(&mounts, path)?;
    is_network(&file_system).then_some(file_system)
}

fn is_network(file_system: &str) -> bool {
    file_system.starts_with("nfs") || NETWORK_FILE_SYSTEMS.contains(&file_system)
}

/// The type of the mount with the longest matching mount point; of several on one point, the last covers the rest.
fn file_system_of(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            Some((PathBuf::from(unescape(mount.split(' ').nth(4)?)), kind.split(' ').next()?))
        })
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.components().count())
        .map(|(_, kind)| kind.to_owned())
}

/// Undoes the octal escapes of mountinfo.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt/share rw - nfs4 server:/export rw,vers=4.2
31 22 0:41 / /mnt/share/local rw - xfs /dev/vdb rw
32 22 0:42 / /mnt/with\\040space rw - cifs //server/share rw
33 22 0:43 / /mnt/home rw - fuse.sshfs me@there: rw
34 22 0:44 / /mnt/twice rw - ext4 /dev/vdc rw
35 34 0:45 / /mnt/twice rw - lustre fs@tcp:/l rw
";

    #[test]
    fn the_longest_mount_point_decides() {
        let of = |path: &str| file_system_of(MOUNTS, Path::new(path)).unwrap();
        assert_eq!(of("/srv/webhooks.db"), "ext4");
        assert_eq!(of("/mnt/share/webhooks.db"), "nfs4");
        assert_eq!(of("/mnt/share/local/webhooks.db"), "xfs");
        assert_eq!(of("/mnt/shared/webhooks.db"), "ext4");
        assert_eq!(of("/mnt/with space/webhooks.db"), "cifs");
        assert_eq!(of("/mnt/twice/webhooks.db"), "lustre");
    }

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        for remote in ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs", "lustre"] {
            assert!(is_network(remote), "{remote}");
        }
        for local in ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "fuseblk"] {
            assert!(!is_network(local), "{local}");
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_log_without_its_database_is_set_aside_and_one_with_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q.db");
        std::fs::write(log_path(&path), "stale").unwrap();
        set_leftovers_aside(&path, None).unwrap();
        let left = names(folder.path());
        assert!(matches!(&left[..], [name] if name.starts_with("q.db-wal.")), "{left:?}");

        std::fs::write(&path, "").unwrap();
        std::fs::write(log_path(&path), "live").unwrap();
        set_leftovers_aside(&path, Some(Identity::of(&path))).unwrap();
        assert!(log_path(&path).exists());
    }

    #[test]
    fn a_log_that_belongs_to_a_replaced_database_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("q.db"), folder.path().join("other.db"));
        std::fs::write(&path, "old").unwrap();
        std::fs::write(log_path(&path), "of the old one").unwrap();
        let previous = Identity::of(&path);
        std::fs::write(&other, "new").unwrap();
        std::fs::rename(&other, &path).unwrap();
        set_leftovers_aside(&path, Some(previous)).unwrap();
        assert!(!log_path(&path).exists());
    }
}
