//! Keys that open a source to one tenant each. All are derived from a master key, so that none has to be kept.

use http::request::Parts;
use ring::hmac;
use subtle::{Choice, ConstantTimeEq};

use super::access_key::presented;
use super::signature::hex;
use crate::answer::Refusal;
use crate::query;

const NOT_ONE_TENANT: Refusal =
    Refusal::NotProven("the request does not name one tenant, and the key of this source is a tenant's own");

/// A tenant has all the time in the world to look for the master key behind his own.
const MIN_MASTER_KEY_BYTES: usize = 32;

/// The master keys of one source: a key derived from any of them opens it, so that they can be rotated.
#[derive(Clone, Debug)]
pub(crate) struct TenantKeys {
    source: String,
    masters: Vec<hmac::Key>,
}

impl TenantKeys {
    /// Master keys separated by white space.
    pub(crate) fn parse(source: &str, text: &str) -> Result<TenantKeys, String> {
        if text.trim().is_empty() {
            return Err("holds no key".to_owned());
        }
        if text.split_whitespace().any(|master| master.len() < MIN_MASTER_KEY_BYTES) {
            return Err(format!("holds a key of less than {MIN_MASTER_KEY_BYTES} characters: set it to a random one"));
        }
        let masters = text.split_whitespace().map(|master| hmac::Key::new(hmac::HMAC_SHA256, master.as_bytes()));
        Ok(TenantKeys { source: source.to_owned(), masters: masters.collect() })
    }

    /// The key to give to a tenant: that of the first master key.
    #[cfg(feature = "standalone")]
    pub(crate) fn key_of(&self, tenant: &str) -> Option<String> {
        self.masters.first().map(|master| self.derived(master, tenant))
    }

    /// The tenant that the request names, whose key it shows. Every key is compared with everything shown, in constant
    /// time.
    pub(crate) fn proven_in(&self, request: &Parts) -> Result<String, Refusal> {
        let tenant = query::only(request.uri.query().unwrap_or_default(), "tenant").ok_or(NOT_ONE_TENANT)?;
        let keys: Vec<String> = self.masters.iter().map(|master| self.derived(master, &tenant)).collect();
        let mut found = Choice::from(0);
        for shown in presented(request) {
            for key in &keys {
                found |= key.as_bytes().ct_eq(&shown);
            }
        }
        if found.into() { Ok(tenant) } else { Err(Refusal::KeyMissingOrWrong) }
    }

    /// The name of a source holds no NUL, so that no two pairs of source and tenant have one text.
    fn derived(&self, master: &hmac::Key, tenant: &str) -> String {
        hex(hmac::sign(master, format!("{}\0{tenant}", self.source).as_bytes()).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &str = "0123456789abcdef0123456789abcdef";
    const OLD_MASTER: &str = "fedcba9876543210fedcba9876543210";

    fn keys(source: &str) -> TenantKeys {
        TenantKeys::parse(source, &format!("{MASTER} {OLD_MASTER}")).unwrap()
    }

    fn proven(uri: &str, headers: &[(&str, &str)]) -> Result<String, Refusal> {
        let mut request = http::Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        keys("shop").proven_in(&request.body(()).unwrap().into_parts().0)
    }

    /// Made by `printf 'shop\00012/3' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef`.
    #[test]
    fn a_key_is_the_hmac_of_source_and_tenant() {
        let key = keys("shop").key_of("12/3").unwrap();
        assert_eq!(key, "19cca3688948af27409a7ccfcf27d2f1be0890f75384f5b922d4c946e093de80");
        assert_ne!(keys("shop-1").key_of("2/3"), keys("shop").key_of("12/3"));
        assert_ne!(keys("shop2").key_of("12/3"), Some(key));
    }

    #[test]
    fn a_key_proves_its_own_tenant_wherever_it_is_shown() {
        let key = keys("shop").key_of("12/3 æ").unwrap();
        let target = "/webhooks/shop?tenant=12%2F3+%C3%A6";
        for (uri, headers) in [
            (format!("{target}&key={key}"), &[][..]),
            (format!("{target}&code={key}&a=1"), &[]),
            (target.to_owned(), &[("x-webhook-key", &*key)]),
            (target.to_owned(), &[("authorization", &*format!("Bearer {key}"))]),
        ] {
            assert_eq!(proven(&uri, headers).unwrap(), "12/3 æ", "{uri}");
        }
    }

    #[test]
    fn a_key_of_an_old_master_key_is_good_while_that_is_there() {
        let key = TenantKeys::parse("shop", OLD_MASTER).unwrap().key_of("1").unwrap();
        assert!(proven(&format!("/?tenant=1&key={key}"), &[]).is_ok());
        let key = TenantKeys::parse("shop", &MASTER.repeat(2)).unwrap().key_of("1").unwrap();
        assert!(proven(&format!("/?tenant=1&key={key}"), &[]).is_err());
    }

    #[test]
    fn a_key_proves_nothing_else() {
        let key = keys("shop").key_of("1").unwrap();
        let of_another_source = keys("forge").key_of("1").unwrap();
        for wrong in [
            format!("/?tenant=2&key={key}"),
            format!("/?tenant=1%00&key={key}"),
            format!("/?tenant=1&key={of_another_source}"),
            format!("/?tenant=1&key={}", key.to_uppercase()),
            format!("/?tenant=1&key={MASTER}"),
            "/?tenant=1&key=".to_owned(),
            "/?tenant=1".to_owned(),
        ] {
            assert!(matches!(proven(&wrong, &[]), Err(Refusal::KeyMissingOrWrong)), "{wrong}");
        }
        for nobody in ["", "&tenant=", "&tenant=1&tenant=2", "&tenant=2&tenant=1", "&Tenant=1", "&tenant=1&t%65nant=1"]
        {
            let refused = proven(&format!("/?key={key}{nobody}"), &[]);
            assert!(matches!(refused, Err(Refusal::NotProven(_))), "{nobody}");
        }
    }
}
