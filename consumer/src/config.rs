//! The consumer's settings.

use std::time::Duration;

use webhook_queue::{ConfigError, Env, Problem, QueueConfig, Role, duration};

use crate::dispatch::{DEFAULT_HANDLER_TIMEOUT, DEFAULT_RETRY_MAX_AGE, Unhandled};

const DEFAULT_CONCURRENCY: usize = 32;
const DEFAULT_PREFETCH: u16 = 200;
const DEFAULT_GRACE: Duration = Duration::from_secs(25);

/// Everything that a consumer can be told.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerConfig {
    pub(crate) queue: QueueConfig,
    pub(crate) concurrency: usize,
    pub(crate) prefetch: u16,
    pub(crate) grace: Duration,
    pub(crate) retry_max_age: Duration,
    pub(crate) handler_timeout: Duration,
    pub(crate) unhandled: Unhandled,
}

impl ConsumerConfig {
    pub(crate) fn new(queue: QueueConfig) -> ConsumerConfig {
        ConsumerConfig {
            queue,
            concurrency: DEFAULT_CONCURRENCY,
            prefetch: DEFAULT_PREFETCH,
            grace: DEFAULT_GRACE,
            retry_max_age: DEFAULT_RETRY_MAX_AGE,
            handler_timeout: DEFAULT_HANDLER_TIMEOUT,
            unhandled: Unhandled::default(),
        }
    }

    /// Reads `QUEUE_*`, `CONSUMER_*` and `RETRY_MAX_AGE`; all problems are reported together.
    pub(crate) fn from_env(mut env: Env) -> Result<ConsumerConfig, ConfigError> {
        let queue = QueueConfig::from_env(&mut env, Role::Consumer);
        let config = ConsumerConfig {
            concurrency: env.parsed("CONSUMER_CONCURRENCY", DEFAULT_CONCURRENCY, |text| {
                text.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("'{text}' is not a number from 1 on"))
            }),
            prefetch: env.parsed("CONSUMER_PREFETCH", DEFAULT_PREFETCH, |text| {
                let wanted = || format!("'{text}' is not a number from 1 to {}", u16::MAX);
                text.parse().ok().filter(|n| *n > 0).ok_or_else(wanted)
            }),
            grace: env.parsed("CONSUMER_GRACE", DEFAULT_GRACE, duration),
            retry_max_age: env.parsed("RETRY_MAX_AGE", DEFAULT_RETRY_MAX_AGE, duration),
            ..ConsumerConfig::new(queue)
        };
        env.refuse_unknown("CONSUMER_");
        if let Err(problem) = config.check() {
            env.problem(&problem.variable, problem.message);
        }
        env.finish().map(|()| config)
    }

    /// Looks at what the settings mean together.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let problem = |variable: &str, message: String| Err(Problem { variable: variable.to_owned(), message });
        if self.concurrency == 0 {
            return problem("CONSUMER_CONCURRENCY", "must be at least 1".to_owned());
        }
        if self.prefetch == 0 {
            return problem("CONSUMER_PREFETCH", "must be at least 1".to_owned());
        }
        if self.concurrency > usize::from(self.prefetch) {
            let message = format!(
                "{} handlers cannot run at once while at most {} events are held: lower it, or raise CONSUMER_PREFETCH",
                self.concurrency, self.prefetch
            );
            return problem("CONSUMER_CONCURRENCY", message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ConsumerConfig, String> {
        let pairs = pairs.iter().copied().chain([("QUEUE_URL", "sqlite:x.db")]);
        ConsumerConfig::from_env(Env::from_pairs(pairs)).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = read(&[]).unwrap();
        assert_eq!((config.concurrency, config.prefetch, config.grace.as_secs()), (32, 200, 25));
        assert_eq!(config.retry_max_age.as_secs(), 86_400);
    }

    #[test]
    fn every_variable_is_read() {
        let config = read(&[
            ("CONSUMER_CONCURRENCY", "4"),
            ("CONSUMER_PREFETCH", "5"),
            ("CONSUMER_GRACE", "6s"),
            ("RETRY_MAX_AGE", "7h"),
        ])
        .unwrap();
        assert_eq!((config.concurrency, config.prefetch, config.grace.as_secs()), (4, 5, 6));
        assert_eq!(config.retry_max_age.as_secs(), 7 * 3600);
    }

    #[test]
    fn every_mistake_is_named() {
        for (variable, value, expected) in [
            ("CONSUMER_CONCURRENCY", "0", "'0' is not a number from 1 on"),
            ("CONSUMER_CONCURRENCY", "many", "'many' is not a number from 1 on"),
            ("CONSUMER_CONCURRENCY", "201", "201 handlers cannot run at once while at most 200 events are held"),
            ("CONSUMER_PREFETCH", "31", "32 handlers cannot run at once while at most 31 events are held"),
            ("CONSUMER_PREFETCH", "70000", "'70000' is not a number from 1 to 65535"),
            ("CONSUMER_GRACE", "soon", "'soon' is not a duration"),
            ("RETRY_MAX_AGE", "24", "'24' is not a duration"),
            ("CONSUMER_GRAZE", "1s", "is not a known variable: was CONSUMER_GRACE meant?"),
        ] {
            let error = read(&[(variable, value)]).unwrap_err();
            assert!(error.contains(expected), "{variable}={value}: {error}");
        }
    }
}
