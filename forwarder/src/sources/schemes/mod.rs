//! The schemes: one entry per provider. What each header and number means is in [`super::scheme`].

mod events;
mod signed;

use super::scheme::{ProofKind, Scheme, SwitchOff};

/// The scheme with this name.
pub(super) fn named(name: &str) -> Option<&'static Scheme> {
    ALL.iter().copied().find(|scheme| scheme.name == name)
}

/// For error messages.
pub(super) fn names() -> String {
    ALL.iter().map(|scheme| scheme.name).collect::<Vec<_>>().join(", ")
}

/// Every scheme, the plain one first.
pub(super) static ALL: &[&Scheme] = &[
    &PLAIN,
    &E_CONOMIC,
    &ECOVELO,
    &events::FATTURE_IN_CLOUD,
    &signed::STANDARD_WEBHOOKS,
    &signed::STRIPE,
    &signed::GITHUB,
    &HMAC,
    &signed::SHOPIFY,
    &signed::SLACK,
    &events::CLOUDEVENTS,
    &events::EVENT_GRID,
    &events::GRAPH,
    &signed::META,
    &signed::DROPBOX,
    &signed::TWILIO,
    &events::SNS,
];

/// What a provider is that signs nothing and names nothing: proof, type and tenant are in the URL or a header.
pub(super) static PLAIN: Scheme = Scheme {
    name: "plain",
    methods: "POST",
    proof: ProofKind::Nothing,
    handshakes: &[],
    readings: &[],
    switches_off: None,
};

/// Its own page is of two minds whether a legacy webhook comes by POST or by GET.
pub(super) static E_CONOMIC: Scheme = Scheme {
    name: "e-conomic",
    methods: "GET, POST",
    proof: ProofKind::Nothing,
    handshakes: &[],
    readings: &[],
    switches_off: Some(SwitchOff { failures: 250, in_a_row: false }),
};

static ECOVELO: Scheme = Scheme {
    name: "ecovelo",
    methods: "POST",
    proof: ProofKind::Nothing,
    handshakes: &[],
    readings: &[],
    switches_off: None,
};

/// Everything else about it is in the source's variables.
static HMAC: Scheme = Scheme {
    name: "hmac",
    methods: "POST",
    proof: ProofKind::Configured,
    handshakes: &[],
    readings: &[],
    switches_off: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_is_told_of_and_has_a_name_of_its_own() {
        let readme = include_str!("../../../README.md");
        for scheme in ALL {
            let rows =
                readme.lines().filter(|line| line.starts_with('|') && line.contains(&format!("| `{}` |", scheme.name)));
            assert!(rows.count() >= 1, "{}", scheme.name);
            assert_eq!(ALL.iter().filter(|other| other.name == scheme.name).count(), 1);
        }
    }

    #[test]
    fn handshakes_come_by_methods_that_are_allowed() {
        for scheme in ALL {
            for handshake in scheme.handshakes {
                assert!(scheme.methods.split(", ").any(|method| method == handshake.method), "{}", scheme.name);
                assert!(handshake.method == "POST" || !handshake.needs_body(), "{}", scheme.name);
            }
        }
        assert!(named("e-conomic").unwrap().takes_events_by_get());
        assert!(!named("meta").unwrap().takes_events_by_get());
    }
}
