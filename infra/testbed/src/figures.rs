//! Figures that tests measure and people read.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Whether the full counts are wanted: `infra/check --long` sets `WEBHOOK_QUEUE_LONG`.
pub fn long() -> bool {
    std::env::var_os("WEBHOOK_QUEUE_LONG").is_some()
}

/// Prints figures (seen with `--nocapture`), and adds them to the file that `WEBHOOK_QUEUE_RESULTS` names.
pub fn figures(title: &str, table: &str) {
    let mut last = LAST_TITLE.lock().unwrap_or_else(PoisonError::into_inner);
    *last = Some(title.to_owned());
    write(&format!("\n## {title}\n\n{}\n", table.trim_end()));
}

/// One row of a Markdown table of figures, as [`figures`]. The first one brings title and header along; those that
/// follow it under the same title belong to the same table.
pub fn row(title: &str, columns: &[&str], cells: &[String]) {
    let mut last = LAST_TITLE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    if last.as_deref() != Some(title) {
        let rule = vec!["---"; columns.len()].join("|");
        text = format!("\n## {title}\n\n| {} |\n|{rule}|\n", columns.join(" | "));
        *last = Some(title.to_owned());
    }
    write(&format!("{text}| {} |\n", cells.join(" | ")));
}

/// What the last figures of this process were about.
static LAST_TITLE: Mutex<Option<String>> = Mutex::new(None);

#[expect(clippy::print_stdout, reason = "a test prints what it measured")]
fn write(text: &str) {
    print!("{text}");
    if let Some(path) = std::env::var_os("WEBHOOK_QUEUE_RESULTS") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the results can be written");
        file.write_all(text.as_bytes()).expect("the results can be written");
    }
}
