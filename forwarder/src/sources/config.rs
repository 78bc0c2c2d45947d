//! `SOURCE_<NAME>_*`

use std::collections::BTreeMap;

use webhook_queue::Env;

use super::scheme::{ProofKind, Scheme};
use super::settings;
use super::{AccessKeys, AddressCheck, AddressList, Source, Sources, TenantKeys, schemes};

const PREFIX: &str = "SOURCE_";
const MAX_NAME_BYTES: usize = 64;
/// What may stand behind `SOURCE_<NAME>_` whatever the scheme, each before any that it ends with.
const SETTINGS: [&str; 7] = ["SCHEME", "ACCESS_KEY", "MASTER_KEY", "ALLOW_IPS_MODE", "ALLOW_IPS", "OPEN", "PATH"];

impl Sources {
    /// Reads every `SOURCE_*` variable. Problems are noted in `env`.
    pub(crate) fn from_env(env: &mut Env) -> Sources {
        let mut names = BTreeMap::new();
        for variable in env.names(PREFIX).into_iter().filter(|variable| env.is_set(variable)).collect::<Vec<_>>() {
            match split(&variable) {
                Some(name) => {
                    names.entry(name.to_owned()).or_insert(variable);
                }
                None => ask_what_was_meant(env, &variable),
            }
        }
        if !env.names(PREFIX).iter().any(|variable| env.is_set(variable)) {
            env.problem(
                "SOURCE_<NAME>_ACCESS_KEY",
                "no source is configured, so nothing could be received: set for example SOURCE_E_CONOMIC_ACCESS_KEY \
                 to a long random key, and send webhooks to /webhooks/e-conomic?key=<key>",
            );
        }
        let all = names.into_iter().filter_map(|(name, variable)| read(env, &name, &variable)).collect();
        env.refuse_unknown(PREFIX);
        let sources = Sources { all };
        sources.refuse_shared_paths(env);
        sources
    }

    fn refuse_shared_paths(&self, env: &mut Env) {
        for (index, source) in self.all.iter().enumerate() {
            let Some(path) = source.path.as_deref() else { continue };
            if let Some(other) = self.all[..index].iter().find(|other| other.path.as_deref() == Some(path)) {
                env.problem(&source.variable("PATH"), format!("is also the path of the source {}", other.name));
            }
        }
    }
}

fn all_settings() -> impl Iterator<Item = &'static str> {
    SETTINGS.into_iter().chain(settings::SETTINGS)
}

/// The name in `SOURCE_<NAME>_<SETTING>` or `SOURCE_<NAME>_<SETTING>_FILE`.
fn split(variable: &str) -> Option<&str> {
    let rest = variable.strip_prefix(PREFIX)?;
    let rest = rest.strip_suffix("_FILE").unwrap_or(rest);
    let name = all_settings().find_map(|setting| rest.strip_suffix(setting)?.strip_suffix('_'))?;
    (!name.is_empty()).then_some(name)
}

/// Asks for every name that could stand where `variable` does, so that [`Env::refuse_unknown`] can suggest one.
fn ask_what_was_meant(env: &mut Env, variable: &str) {
    let ends = variable.match_indices('_').map(|(index, _)| index).skip(1);
    for name in ends.map(|end| &variable[..end]) {
        for setting in all_settings() {
            env.text(&format!("{name}_{setting}"));
        }
    }
}

impl Source {
    /// The name of one of its variables.
    pub(crate) fn variable(&self, setting: &str) -> String {
        format!("{PREFIX}{}_{setting}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

fn read(env: &mut Env, upper: &str, first_variable: &str) -> Option<Source> {
    let setting = |name: &str| format!("{PREFIX}{upper}_{name}");
    // Whatever is wrong with this source, none of its names is unknown.
    for name in all_settings() {
        env.text(&setting(name));
    }
    let name = source_name(upper).map_err(|problem| env.problem(first_variable, problem)).ok()?;
    let scheme = read_scheme(env, &setting, &name)?;
    let own = settings::read(env, scheme, &setting);
    let keys = read_keys(env, &setting);
    let tenant_keys = read_tenant_keys(env, &setting, &name, scheme);
    let addresses = read_addresses(env, &setting);
    let path = read_path(env, &setting);
    check_protection(env, &setting, &name, scheme);
    let settings::Own { proof, verify_token, readings } = own?;
    Some(Source { name, scheme, proof, verify_token, readings, addresses, keys, tenant_keys, path })
}

fn read_scheme(env: &mut Env, setting: &impl Fn(&str) -> String, source: &str) -> Option<&'static Scheme> {
    let Some(name) = env.text(&setting("SCHEME")) else {
        return Some(schemes::named(source).unwrap_or(&schemes::PLAIN));
    };
    let scheme = schemes::named(name.trim());
    if scheme.is_none() {
        let supported = schemes::names();
        env.problem(&setting("SCHEME"), format!("'{}' is not supported; supported are: {supported}", name.trim()));
    }
    scheme
}

fn read_keys(env: &mut Env, setting: &impl Fn(&str) -> String) -> AccessKeys {
    let Some(text) = env.text(&setting("ACCESS_KEY")) else { return AccessKeys::default() };
    let keys = AccessKeys::parse(&text);
    if keys.is_empty() {
        env.problem(&setting("ACCESS_KEY"), "holds no key");
    }
    keys
}

fn read_tenant_keys(
    env: &mut Env,
    setting: &impl Fn(&str) -> String,
    name: &str,
    scheme: &Scheme,
) -> Option<TenantKeys> {
    let keys = env.parsed(&setting("MASTER_KEY"), None, |text| TenantKeys::parse(name, text).map(Some));
    if keys.is_some() && matches!(scheme.proof, ProofKind::Token(_)) {
        let problem = format!(
            "cannot be used with the scheme {}, whose tokens are for the one {} and not for that of a tenant; remove it: \
             they prove the tenant",
            scheme.name,
            setting("URL")
        );
        env.problem(&setting("MASTER_KEY"), problem);
    }
    keys
}

fn read_addresses(env: &mut Env, setting: &impl Fn(&str) -> String) -> Option<AddressCheck> {
    let allowed = env.parsed(&setting("ALLOW_IPS"), None, |text| AddressList::parse(text).map(Some));
    let enforce = env.parsed(&setting("ALLOW_IPS_MODE"), true, |text| match text {
        "enforce" => Ok(true),
        "warn" => Ok(false),
        _ => Err(format!("'{text}' is neither enforce nor warn")),
    });
    if !env.is_set(&setting("ALLOW_IPS")) && env.is_set(&setting("ALLOW_IPS_MODE")) {
        env.problem(&setting("ALLOW_IPS_MODE"), format!("has no effect without {}", setting("ALLOW_IPS")));
    }
    allowed.map(|allowed| AddressCheck { allowed, enforce })
}

fn read_path(env: &mut Env, setting: &impl Fn(&str) -> String) -> Option<String> {
    let path = env.text(&setting("PATH"))?;
    match refuse_path(&path) {
        None => Some(path),
        Some(problem) => {
            env.problem(&setting("PATH"), problem);
            None
        }
    }
}

/// A source is protected, or open on purpose.
fn check_protection(env: &mut Env, setting: &impl Fn(&str) -> String, name: &str, scheme: &Scheme) {
    let warns_only = env.text(&setting("ALLOW_IPS_MODE")).is_some_and(|mode| mode.trim() == "warn");
    let protected = !matches!(scheme.proof, ProofKind::Nothing)
        || env.is_set(&setting("ACCESS_KEY"))
        || env.is_set(&setting("MASTER_KEY"))
        || (env.is_set(&setting("ALLOW_IPS")) && !warns_only);
    match env.text(&setting("OPEN")).as_deref().map(str::trim) {
        None if protected => {}
        None => env.problem(
            &setting("ACCESS_KEY"),
            format!(
                "the source {name} is not protected: set this to a long random key, or {} to the addresses that may \
                 send, or, if really everybody may send, {}=yes",
                setting("ALLOW_IPS"),
                setting("OPEN")
            ),
        ),
        Some("yes") if protected => {
            env.problem(&setting("OPEN"), "has no effect on a source that is protected; remove it, or the protection");
        }
        Some("yes") => {}
        Some(_) => {
            env.problem(&setting("OPEN"), "can only be yes: then everybody may send to this source");
        }
    }
}

/// `E_CONOMIC` is the source `e-conomic`.
fn source_name(upper: &str) -> Result<String, String> {
    let name = upper.to_ascii_lowercase().replace('_', "-");
    let words_are_good = name
        .split('-')
        .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    if !words_are_good || upper.bytes().any(|b| b.is_ascii_lowercase()) || upper.contains('-') {
        return Err("a source's name is written with A-Z, 0-9 and single underscores, like E_CONOMIC".to_owned());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("a source's name has at most {MAX_NAME_BYTES} characters"));
    }
    Ok(name)
}

fn refuse_path(path: &str) -> Option<String> {
    let good = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()) && !path.contains(['?', '#']);
    if !good {
        return Some("must be a path like /api/WebhookForwarder, percent-encoded and without a query".to_owned());
    }
    crate::route::is_own_path(path).then(|| "is a path that the forwarder itself answers; choose another".to_owned())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let sources = Sources::from_env(&mut env);
        env.finish().map_err(|error| error.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        Ok(sources.iter().map(|source| (source.name.clone(), source.protection())).collect())
    }

    #[test]
    fn names_may_hold_underscores_and_settings() {
        let sources = read(&[
            ("SOURCE_E_CONOMIC_ACCESS_KEY", "k"),
            ("SOURCE_E_CONOMIC_ALLOW_IPS", "e-conomic"),
            ("SOURCE_E_CONOMIC_ALLOW_IPS_MODE", "warn"),
            ("SOURCE_E_CONOMIC_SCHEME", "plain"),
            ("SOURCE_SHORT_URL_OPEN", "yes"),
            ("SOURCE_X1_ALLOW_IPS", "10.0.0.0/8"),
            ("SOURCE_X2_MASTER_KEY", "0123456789abcdef0123456789abcdef"),
        ]);
        let expected = [
            ("e-conomic", "access key and address list (warns only)"),
            ("short-url", "open to everybody"),
            ("x1", "address list"),
            ("x2", "access key of the tenant"),
        ];
        assert_eq!(sources.unwrap(), expected.map(|(name, how)| (name.to_owned(), how.to_owned())));
    }

    #[test]
    fn a_key_may_be_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "k\n").unwrap();
        let sources = read(&[("SOURCE_SHOP_ACCESS_KEY_FILE", file.path().to_str().unwrap())]).unwrap();
        assert_eq!(sources, [("shop".to_owned(), "access key".to_owned())]);
    }

    #[test]
    fn no_source_is_an_error() {
        assert_snapshot!(read(&[]).unwrap_err(), @"SOURCE_<NAME>_ACCESS_KEY: no source is configured, so nothing could be received: set for example SOURCE_E_CONOMIC_ACCESS_KEY to a long random key, and send webhooks to /webhooks/e-conomic?key=<key>");
    }

    #[test]
    fn an_unprotected_source_is_an_error() {
        let unprotected = read(&[("SOURCE_SHOP_SCHEME", "plain")]).unwrap_err();
        assert_snapshot!(unprotected, @"SOURCE_SHOP_ACCESS_KEY: the source shop is not protected: set this to a long random key, or SOURCE_SHOP_ALLOW_IPS to the addresses that may send, or, if really everybody may send, SOURCE_SHOP_OPEN=yes");
        let warns_only = [("SOURCE_SHOP_ALLOW_IPS", "10.0.0.1"), ("SOURCE_SHOP_ALLOW_IPS_MODE", "warn")];
        assert_eq!(read(&warns_only).unwrap_err(), unprotected);
        assert_eq!(read(&[("SOURCE_SHOP_ACCESS_KEY", " ")]).unwrap_err(), "SOURCE_SHOP_ACCESS_KEY: holds no key");
        assert_eq!(read(&[("SOURCE_SHOP_ALLOW_IPS", ",")]).unwrap_err(), "SOURCE_SHOP_ALLOW_IPS: holds no address");
    }

    #[test]
    fn every_mistake_is_reported_with_what_to_do() {
        let mistakes = [
            ("SOURCE_A_OPEN", "true"),
            ("SOURCE_B_OPEN", "yes"),
            ("SOURCE_B_ACCESS_KEY", "s3cret"),
            ("SOURCE_C_SCHEME", "stripes"),
            ("SOURCE_C_SIGNING_SECRET", "s3cret"),
            ("SOURCE_D_ACESS_KEY", "s3cret"),
            ("SOURCE_E__F_OPEN", "yes"),
            ("SOURCE_g_OPEN", "yes"),
            ("SOURCE_H_ACCESS_KEY", "k"),
            ("SOURCE_H_ALLOW_IPS_MODE", "off"),
            ("SOURCE_I_OPEN", "yes"),
            ("SOURCE_I_PATH", "/webhooks/j"),
            ("SOURCE_J_OPEN", "yes"),
            ("SOURCE_J_PATH", "api/x?y"),
            ("SOURCE_K_OPEN", "yes"),
            ("SOURCE_K_PATH", "/api/WebhookForwarder"),
            ("SOURCE_L_M_OPEN", "yes"),
            ("SOURCE_L_M_PATH", "/api/WebhookForwarder"),
            ("SOURCE_M_ACCESS_KEY", "k"),
            ("SOURCE_M_SIGNING_SECRET", "s3cret"),
            ("SOURCE_N_MASTER_KEY", "s3cret"),
            ("SOURCE_O_MASTER_KEY", " "),
            ("SOURCE_P_MASTER_KEY", "0123456789abcdef0123456789abcdef"),
            ("SOURCE_P_OPEN", "yes"),
            ("SOURCE_Q_SCHEME", "fatture-in-cloud"),
            ("SOURCE_Q_URL", "https://hooks.example/webhooks/q"),
            ("SOURCE_Q_MASTER_KEY", "0123456789abcdef0123456789abcdef"),
            ("SOURCE_NONSENSE", "1"),
        ];
        assert_snapshot!(read(&mistakes).unwrap_err(), @r"
        SOURCE_A_OPEN: can only be yes: then everybody may send to this source
        SOURCE_B_OPEN: has no effect on a source that is protected; remove it, or the protection
        SOURCE_C_SCHEME: 'stripes' is not supported; supported are: plain, e-conomic, ecovelo, fatture-in-cloud, standard-webhooks, stripe, github, hmac, shopify, slack, cloudevents, event-grid, graph, meta, dropbox, twilio, sns
        SOURCE_E__F_OPEN: a source's name is written with A-Z, 0-9 and single underscores, like E_CONOMIC
        SOURCE_H_ALLOW_IPS_MODE: 'off' is neither enforce nor warn
        SOURCE_H_ALLOW_IPS_MODE: has no effect without SOURCE_H_ALLOW_IPS
        SOURCE_I_PATH: is a path that the forwarder itself answers; choose another
        SOURCE_J_PATH: must be a path like /api/WebhookForwarder, percent-encoded and without a query
        SOURCE_M_SIGNING_SECRET: has no effect with the scheme plain, which verifies no signatures; set SOURCE_M_SCHEME to the provider's own, or remove it
        SOURCE_N_MASTER_KEY: holds a key of less than 32 characters: set it to a random one
        SOURCE_O_MASTER_KEY: holds no key
        SOURCE_P_OPEN: has no effect on a source that is protected; remove it, or the protection
        SOURCE_Q_MASTER_KEY: cannot be used with the scheme fatture-in-cloud, whose tokens are for the one SOURCE_Q_URL and not for that of a tenant; remove it: they prove the tenant
        SOURCE_g_OPEN: a source's name is written with A-Z, 0-9 and single underscores, like E_CONOMIC
        SOURCE_D_ACESS_KEY: is not a known variable: was SOURCE_D_ACCESS_KEY meant?
        SOURCE_NONSENSE: is not a known variable
        SOURCE_L_M_PATH: is also the path of the source k
        ");
    }
}
