//! What the READMEs point at is there.
#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The targets of relative links in a Markdown text.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        .filter(|target| !target.contains("://"))
}

#[test]
fn every_link_leads_to_a_file() {
    let mut followed = 0;
    for readme in ["README.md", "queue/README.md", "forwarder/README.md", "consumer/README.md"] {
        let path = root().join(readme);
        for target in links(&std::fs::read_to_string(&path).unwrap()) {
            followed += 1;
            assert!(path.parent().unwrap().join(target).exists(), "{readme} points at {target}");
        }
    }
    assert!(followed > 20, "the links were not found");
}
