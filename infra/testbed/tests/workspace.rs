//! What holds for every crate of the workspace.

use std::process::Command;

use serde_json::Value;

#[test]
fn every_crate_inherits_the_lints_of_the_workspace() {
    let output = testbed::run(Command::new(env!("CARGO")).args(["metadata", "--no-deps", "--format-version=1"]));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() >= 5, "{packages:?}");
    for package in packages {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        assert!(manifest.contains("\n[lints]\nworkspace = true\n"), "{} does not", package["manifest_path"]);
    }
}
