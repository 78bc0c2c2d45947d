//! Environment variables, read once, with every problem reported together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// A snapshot of the environment that remembers which names were asked for.
///
/// Readers never fail one by one: each problem is noted under its variable and [`Env::finish`] reports them all, so
/// that a deployment is put right in one go. Dropped without that, it logs them as errors.
pub struct Env {
    variables: BTreeMap<String, String>,
    asked: BTreeSet<String>,
    problems: Vec<Problem>,
}

/// One thing that is wrong with one variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name.
    pub variable: String,
    /// What is wrong and what to do. Never holds the variable's value when that could be a secret.
    pub message: String,
}

/// Everything that is wrong with the environment. Its `Debug` is its `Display`, so that a `main` that returns it prints
/// what to do.
#[derive(thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct ConfigError {
    /// At least one problem, in the order they were found.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.message)
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("names", &self.variables.keys()).field("problems", &self.problems).finish()
    }
}

impl Env {
    /// The environment of this process. Names and values that are not UTF-8 are passed over.
    pub fn from_process() -> Env {
        Env::from_pairs(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// An environment made by hand, for tests and for apps that keep their settings elsewhere.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Env {
        let variables = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Env { variables, asked: BTreeSet::new(), problems: Vec::new() }
    }

    /// The value of `name`, or the content of the file that `<name>_FILE` points at (without its last line break).
    /// An empty value counts as not set.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let file_name = format!("{name}_FILE");
        self.asked.insert(name.to_owned());
        self.asked.insert(file_name.clone());
        let direct = self.variables.get(name).filter(|value| !value.is_empty()).cloned();
        let Some(path) = self.variables.get(&file_name).filter(|path| !path.is_empty()).cloned() else {
            return direct;
        };
        if direct.is_some() {
            self.problem(name, format!("is set, and so is {file_name}: keep one of them"));
            return direct;
        }
        match std::fs::read_to_string(&path) {
            Ok(content) => {
                Some(content.trim_end_matches(['\r', '\n']).to_owned()).filter(|content| !content.is_empty())
            }
            Err(error) => {
                // Somebody may have put the secret itself there.
                self.problem(&file_name, format!("names a file that cannot be read: {error}"));
                None
            }
        }
    }

    /// The value of `name` as a `T`, or `default` where it is not set. `parse` says in its error what it wants.
    pub fn parsed<T>(&mut self, name: &str, default: T, parse: impl FnOnce(&str) -> Result<T, String>) -> T {
        match self.text(name).map(|text| parse(text.trim())) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(wanted)) => {
                self.problem(name, wanted);
                default
            }
        }
    }

    /// Whether `name`, or its `_FILE` form, is present and not empty.
    pub fn is_set(&self, name: &str) -> bool {
        [name.to_owned(), format!("{name}_FILE")]
            .iter()
            .any(|name| self.variables.get(name).is_some_and(|value| !value.is_empty()))
    }

    /// Every name in the environment that starts with `prefix`.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.variables.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// Notes a problem with `variable`.
    pub fn problem(&mut self, variable: &str, message: impl Into<String>) {
        self.problems.push(Problem { variable: variable.to_owned(), message: message.into() });
    }

    /// Notes every name with this prefix that nobody asked for, with the name that was probably meant.
    pub fn refuse_unknown(&mut self, prefix: &str) {
        for name in self.names(prefix) {
            if self.asked.contains(&name) {
                continue;
            }
            let meant =
                self.asked.iter().filter(|asked| asked.starts_with(prefix)).min_by_key(|asked| distance(asked, &name));
            let message = match meant.filter(|meant| distance(meant, &name) <= 1 + name.len() / 4) {
                Some(meant) => format!("is not a known variable: was {meant} meant?"),
                None => "is not a known variable".to_owned(),
            };
            self.problem(&name, message);
        }
    }

    /// All problems noted so far, or nothing.
    pub fn finish(mut self) -> Result<(), ConfigError> {
        let problems = std::mem::take(&mut self.problems);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}

/// Nothing that is wrong is passed over in silence.
impl Drop for Env {
    fn drop(&mut self) {
        for problem in &self.problems {
            tracing::error!("{problem}; a default is used, since the program did not ask `Env::finish`");
        }
    }
}

/// Reads a duration: `2500ms`, `10s`, `7d`, `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(format!("'{text}' is not a duration: write a number and a unit, like 2500ms, 10s or 7d")),
    }
}

/// A duration as the configuration writes it: `2500ms`, `10s`, `7d`, `1h 30m`.
pub(crate) fn written(duration: Duration) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 24 * 60 * 60), ("h", 60 * 60), ("m", 60), ("s", 1)];
    if duration.subsec_millis() > 0 {
        return format!("{}ms", duration.as_millis());
    }
    let mut left = duration.as_secs();
    let mut parts = Vec::new();
    for (unit, seconds) in UNITS {
        if left >= seconds {
            parts.push(format!("{}{unit}", left / seconds));
            left %= seconds;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Reads a size in bytes: `6291456`, `64MiB`.
pub fn size(text: &str) -> Result<usize, String> {
    let wanted = || format!("'{text}' is not a size: write bytes, or a number and a unit, like 6291456 or 64MiB");
    let size: bytesize::ByteSize = text.parse().map_err(|_| wanted())?;
    usize::try_from(size.as_u64()).ok().filter(|size| *size > 0).ok_or_else(wanted)
}

/// Reads `true` or `false`, `yes` or `no`.
pub fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" => Ok(true),
        "false" | "no" => Ok(false),
        _ => Err(format!("'{text}' is neither true nor false")),
    }
}

/// Splits a list at white space and commas.
pub fn list(text: &str) -> Vec<&str> {
    text.split([' ', ',', '\t', '\n']).filter(|item| !item.is_empty()).collect()
}

/// How many single-letter edits lie between two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once_and_names_its_variable() {
        let mut env = Env::from_pairs([("QUEUE_TTL", "soon"), ("QUEUE_NAM", "hooks")]);
        assert_eq!(env.parsed("QUEUE_TTL", Duration::from_secs(1), duration), Duration::from_secs(1));
        assert_eq!(env.text("QUEUE_NAME"), None);
        env.refuse_unknown("QUEUE_");
        let error = env.finish().unwrap_err();
        assert_eq!(
            error.to_string(),
            "QUEUE_TTL: 'soon' is not a duration: write a number and a unit, like 2500ms, 10s or 7d; \
             QUEUE_NAM: is not a known variable: was QUEUE_NAME meant?"
        );
    }

    #[test]
    fn a_file_stands_in_for_a_variable() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "amqp://there\n").unwrap();
        let path = file.path().to_str().unwrap();
        let mut env = Env::from_pairs([("QUEUE_URL_FILE", path)]);
        assert_eq!(env.text("QUEUE_URL").as_deref(), Some("amqp://there"));
        env.refuse_unknown("QUEUE_");
        env.finish().unwrap();

        let mut both = Env::from_pairs([("QUEUE_URL_FILE", path), ("QUEUE_URL", "amqp://here")]);
        both.text("QUEUE_URL");
        assert!(both.finish().unwrap_err().to_string().contains("keep one of them"));
    }

    #[test]
    fn a_file_that_is_not_there_is_a_problem_of_the_file_variable() {
        let mut env = Env::from_pairs([("QUEUE_URL_FILE", "/nowhere/at/all")]);
        assert_eq!(env.text("QUEUE_URL"), None);
        let problem = env.finish().unwrap_err().to_string();
        assert!(problem.starts_with("QUEUE_URL_FILE: names a file that cannot be read: No such file"), "{problem}");
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for text in ["1ms", "2500ms", "10s", "7d", "1h 30m", "1d 2h 3m 4s", "365d"] {
            assert_eq!(written(duration(text).unwrap()), text);
        }
        assert_eq!(written(Duration::ZERO), "0s");
    }

    #[test]
    fn units_are_read_and_nonsense_is_refused() {
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(duration("2500ms"), Ok(Duration::from_millis(2500)));
        assert!(duration("0s").is_err());
        assert!(duration("7").is_err());
        assert_eq!(size("64MiB"), Ok(64 * 1024 * 1024));
        assert_eq!(size("6291456"), Ok(6_291_456));
        assert!(size("0").is_err());
        assert!(yes_or_no("maybe").is_err());
    }
}
