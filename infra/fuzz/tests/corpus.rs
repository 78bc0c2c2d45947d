//! The corpus, replayed: what the fuzzer has once found to be worth keeping, and every published example.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use webhook_forwarder::{Env, ForwarderConfig};

/// A corpus that was lost, or is not where it should be, is not a corpus.
const AT_LEAST: usize = 50;

#[test]
fn everything_holds_for_the_corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= AT_LEAST, "only {} files in {folder}", files.len());
    let mut published = BTreeSet::new();
    for file in files {
        let input = fs::read(&file).unwrap();
        match std::panic::catch_unwind(|| fuzz::run(&input)) {
            Ok(source) => published.extend(source),
            Err(_) => panic!("{} shows something that does not hold", file.display()),
        }
    }
    // Else it stops at the verification, and there is little to see.
    for (source, _) in fuzz::sources() {
        assert!(published.contains(source), "no event of the source {source} gets through");
    }
}

#[test]
fn every_scheme_is_fuzzed() {
    let unknown = Env::from_pairs([("SOURCE_A_SCHEME", "unknown")]);
    let error = ForwarderConfig::with_env(unknown).unwrap_err().to_string();
    let (_, supported) = error.split_once("supported are: ").unwrap();
    let supported = supported.split(';').next().unwrap().split(", ");
    for scheme in supported {
        assert!(fuzz::sources().any(|(_, fuzzed)| fuzzed == scheme), "no source of the fuzzer has the scheme {scheme}");
    }
}
