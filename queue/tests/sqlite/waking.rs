//! A publish in another process wakes a waiting subscriber soon, and waiting costs next to nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testbed::in_time;
use webhook_queue::Settlement;

use crate::child::Process;
use crate::{PATIENCE, body, fresh, publisher, receive, subscriber};

const TICKS: usize = 40;
const WITHIN: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_in_another_process_wakes_within_50_ms() {
    let (_folder, path) = fresh();
    drop(publisher(&path));
    let mut subscriber = subscriber(&path, 10);
    let _process = Process::start(&format!("tick {TICKS}"), &path);
    let mut delays = Vec::new();
    for _ in 0..TICKS {
        let delivery = receive(&mut subscriber).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        delays.push(now.saturating_sub(Duration::from_micros(body(&delivery).parse().unwrap())));
        in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
    }
    delays.sort();
    let (median, most) = (delays[TICKS / 2], delays[TICKS - 1]);
    println!("from before the publish to its receipt in another process: median {median:?}, longest {most:?}");
    // A machine that is busy with other tests is late now and then, all by itself.
    assert!(median <= WITHIN, "{delays:?}");
}

/// Processor time of a process in hundredths of a second.
#[cfg(target_os = "linux")]
fn ticks(process: &Process) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn waiting_burns_no_core() {
    let (_folder, path) = fresh();
    drop(publisher(&path));
    let mut process = Process::start("idle", &path);
    process.says(std::time::Instant::now() + PATIENCE).unwrap();
    let before = ticks(&process);
    std::thread::sleep(Duration::from_secs(4));
    let spent = ticks(&process) - before;
    println!("an idle subscriber spent {spent} of 400 hundredths of a second");
    assert!(spent <= 12, "{spent} of 400");
}
