//! A queue's URL, taken apart.

/// Where an emulator is made to believe that it stands.
const EMULATED_REGION: &str = "us-east-1";
const MAX_NAME_BYTES: usize = 80;
const ACCOUNT_DIGITS: usize = 12;
const FIFO: &str = ".fifo";
const DEAD: &str = "-dead";
const SUSPECT: &str = "-suspect";

/// One queue: where to ask, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Scheme and host.
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) account: String,
    pub(super) name: String,
}

impl Address {
    /// Reads `https://sqs.{region}.amazonaws.com/{account}/{name}` or `sqs+http://host:port/{account}/{name}`.
    pub(crate) fn parse(url: &str) -> Result<Address, String> {
        let wanted = "must be https://sqs.{region}.amazonaws.com/{account}/{name}, as the AWS console shows it, or \
                      sqs+http://host:port/{account}/{name} for an emulator";
        let (scheme, rest) = url.split_once("://").ok_or(wanted)?;
        let mut parts = rest.split('/');
        let (Some(host), Some(account), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wanted.to_owned());
        };
        let (endpoint, region) = match scheme {
            "https" => (format!("https://{host}"), region_of(host).ok_or(wanted)?),
            _ => (format!("http://{host}"), EMULATED_REGION),
        };
        if account.len() != ACCOUNT_DIGITS || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("names no AWS account of {ACCOUNT_DIGITS} digits; it {wanted}"));
        }
        let stem = name.strip_suffix(FIFO).unwrap_or(name);
        let named = stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if stem.is_empty() || !named || name.len() > MAX_NAME_BYTES {
            return Err(format!(
                "names no queue: letters, digits, - and _, at most {MAX_NAME_BYTES}, with {FIFO} behind a FIFO queue's"
            ));
        }
        let region = region.to_owned();
        Ok(Address { endpoint, region, account: account.to_owned(), name: name.to_owned() })
    }

    /// What SQS calls the queue's URL.
    pub(super) fn url(&self) -> String {
        format!("{}/{}/{}", self.endpoint, self.account, self.name)
    }

    pub(super) fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO)
    }

    /// The queue for dead letters beside this one: of the same kind, as SQS itself wants it.
    pub(super) fn dead(&self) -> Address {
        let fifo = if self.is_fifo() { FIFO } else { "" };
        self.beside(format!("{}{DEAD}{fifo}", self.stem()))
    }

    /// The queue for notes on suspects beside this one.
    pub(super) fn suspects(&self) -> Address {
        self.beside(format!("{}{SUSPECT}", self.stem()))
    }

    fn stem(&self) -> &str {
        self.name.strip_suffix(FIFO).unwrap_or(&self.name)
    }

    fn beside(&self, name: String) -> Address {
        Address { name, ..self.clone() }
    }
}

fn region_of(host: &str) -> Option<&str> {
    let rest = host.strip_prefix("sqs.")?;
    let region = rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))?;
    let plausible = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (plausible && !region.is_empty()).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_put_together_again() {
        for (url, region, fifo) in [
            ("https://sqs.eu-north-1.amazonaws.com/123456789012/hooks", "eu-north-1", false),
            ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/hooks.fifo", "cn-north-1", true),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.region.as_str(), address.is_fifo()), (region, fifo));
            assert_eq!(address.url(), url);
        }
        let emulated = Address::parse("sqs+http://127.0.0.1:5000/123456789012/a").unwrap();
        assert_eq!(emulated.url(), "http://127.0.0.1:5000/123456789012/a");
    }

    #[test]
    fn the_queues_beside_it_are_of_the_same_account() {
        let beside = |name: &str| {
            let address = Address::parse(&format!("https://sqs.eu-north-1.amazonaws.com/123456789012/{name}")).unwrap();
            [address.dead().url(), address.suspects().url()].map(|url| url.rsplit('/').next().unwrap().to_owned())
        };
        assert_eq!(beside("hooks"), ["hooks-dead", "hooks-suspect"]);
        assert_eq!(beside("hooks.fifo"), ["hooks-dead.fifo", "hooks-suspect"]);
    }

    #[test]
    fn what_is_no_queue_is_refused() {
        for url in [
            "https://sqs.eu-north-1.amazonaws.com/123456789012",
            "https://sqs.eu-north-1.amazonaws.com/12345/hooks",
            "https://sqs.eu-north-1.amazonaws.com/123456789012/.fifo",
            "https://sqs.eu-north-1.amazonaws.com/123456789012/a%20b",
            "https://sqs.eu-north-1.amazonaws.com/123456789012/hooks/more",
            "https://sqs..amazonaws.com/123456789012/hooks",
            "https://sqs.eu-north-1.example.com/123456789012/hooks",
            "sqs+http://127.0.0.1:5000/hooks",
        ] {
            Address::parse(url).unwrap_err();
        }
    }
}
