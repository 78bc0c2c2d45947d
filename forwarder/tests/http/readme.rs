//! The README's examples, run as a reader would: every provider in its table has one that does what it says.

use std::path::Path;

use tokio::process::Command;
use tokio::time::timeout;
use webhook_queue::Event;

use crate::support::{PATIENCE, Server};

const README: &str = include_str!("../../README.md");
/// Where the examples find the forwarder, and where its URLs in the table are.
const ADDRESS: &str = "127.0.0.1:8080";
const PUBLIC: &str = "https://hooks.example/webhooks/";

/// A line of the table of providers.
struct Row {
    provider: &'static str,
    scheme: &'static str,
    variables: &'static str,
    given_to_it: &'static str,
}

fn section(title: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n## {title}\n")).unwrap();
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

fn rows() -> Vec<Row> {
    let lines = section("Which providers").lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    let row = |cells: Vec<&'static str>| {
        let [provider, scheme, variables, given_to_it] = cells[..] else { panic!("not a row: {cells:?}") };
        Row { provider, scheme: scheme.trim_matches('`'), variables, given_to_it }
    };
    cells.map(row).collect()
}

/// What all examples share, and the examples.
fn scripts() -> (&'static str, Vec<&'static str>) {
    let mut blocks =
        section("An example of each").split("\n```sh\n").skip(1).map(|block| block.split_once("\n```").unwrap().0);
    (blocks.next().unwrap(), blocks.collect())
}

fn is_of(script: &str, row: &Row) -> bool {
    let title = script.lines().next().unwrap();
    title.strip_prefix("# ").unwrap().split(": ").next() == Some(row.provider)
}

/// The names in a text that begin with `SOURCE_` and leave nothing open.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let words =
        text.split(|letter: char| !(letter.is_ascii_uppercase() || letter == '_' || letter == '<' || letter == '>'));
    words.filter(|word| word.starts_with("SOURCE_") && !word.contains('<'))
}

/// The part of a URL's path that is the same for everybody.
fn fixed_path(given_to_provider: &str) -> Option<&str> {
    let (_, rest) = given_to_provider.split_once(PUBLIC)?;
    rest.split(['<', '?', '`']).next()
}

#[test]
fn every_provider_has_one_example_with_its_scheme_its_variables_and_its_url() {
    let (rows, (_, scripts)) = (rows(), scripts());
    assert!(rows.len() > 15, "the table was not found");
    assert_eq!(rows.len(), scripts.len());
    for row in &rows {
        let mut own = scripts.iter().filter(|script| is_of(script, row));
        let (Some(script), None) = (own.next(), own.next()) else { panic!("{}: no example, or several", row.provider) };
        let (path, configured) = (format!("$hooks/{}", row.scheme), format!("_SCHEME={}\n", row.scheme));
        assert!(row.scheme == "plain" || script.contains(&path) || script.contains(&configured), "{}", row.provider);
        for name in variables(row.variables) {
            assert!(script.contains(name), "{}: {name} is not in its example", row.provider);
        }
        if let Some(path) = fixed_path(row.given_to_it) {
            assert!(script.contains(&format!("$hooks/{path}")), "{}: no request to {path}", row.provider);
        }
    }
}

#[tokio::test]
async fn every_example_does_what_it_says() {
    let (shared, scripts) = scripts();
    for script in scripts {
        let folder = tempfile::tempdir().unwrap();
        let (setup, request) = parted(script);
        let set = shell(folder.path(), &[], &format!("{shared}\n{setup}\nenv -0")).await;
        let set: Vec<(&str, &str)> = set.split('\0').filter_map(|pair| pair.split_once('=')).collect();
        let set: Vec<(&str, &str)> = set.into_iter().filter(|(name, _)| name.starts_with("SOURCE_")).collect();
        let server = Server::start(&set);
        let request = format!("{shared}\n{request}").replace(ADDRESS, &server.address.to_string());
        let answer = shell(folder.path(), &set, &request).await;
        let became = match server.queue.events().pop() {
            Some(event) if answer.starts_with("HTTP/1.1 200 ") && answer.contains(&event.id) => told(&event),
            _ => format!("# refused: {}", answer.lines().next().unwrap_or_default()),
        };
        assert_eq!(script.lines().last(), Some(became.as_str()), "{script}\n{answer}");
    }
}

/// What the forwarder's operator does, up to the last variable, and what the provider does.
fn parted(script: &str) -> (&str, &str) {
    let last = script.rfind("\nexport ").unwrap();
    let end = last + 1 + script[last + 1..].find('\n').unwrap();
    script.split_at(end)
}

async fn shell(folder: &Path, set: &[(&str, &str)], script: &str) -> String {
    let mut command = Command::new("/bin/sh");
    command.args(["-ec", script]).current_dir(folder).envs(set.iter().copied()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn told(event: &Event) -> String {
    let tenant = event.tenant.as_ref().map(|tenant| format!(" of {tenant}")).unwrap_or_default();
    format!("# {}/{}{tenant}, verified by {}", event.source, event.event_type, event.verified.as_str())
}
