//! Start-up errors: what each scheme needs, and what it cannot use.

use insta::assert_snapshot;

use webhook_queue::Env;

use crate::sources::Sources;

fn problems(settings: &[(&str, &str)]) -> String {
    let mut env = Env::from_pairs(settings.iter().copied());
    Sources::from_env(&mut env);
    let problems = env.finish().unwrap_err().problems;
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_source_has_the_scheme_of_its_name() {
    let named = |settings: &[(&str, &str)]| {
        let mut env = Env::from_pairs(settings.iter().copied());
        let sources = Sources::from_env(&mut env);
        env.finish().unwrap();
        let schemes: Vec<String> = sources
            .iter()
            .map(|source| format!("{} {}: {}", source.name, source.scheme.name, source.protection()))
            .collect();
        schemes.join("\n")
    };
    assert_snapshot!(named(&[
        ("SOURCE_ECOVELO_ACCESS_KEY", "k"),
        ("SOURCE_E_CONOMIC_ACCESS_KEY", "k"),
        ("SOURCE_E_CONOMIC_2_ACCESS_KEY", "k"),
        ("SOURCE_FATTURE_IN_CLOUD_URL", "https://hooks.example/webhooks/fatture-in-cloud"),
        ("SOURCE_FORGE_SCHEME", "github"),
        ("SOURCE_FORGE_SIGNING_SECRET", "s"),
        ("SOURCE_FORGE_ACCESS_KEY", "k"),
        ("SOURCE_GITHUB_SCHEME", "plain"),
        ("SOURCE_GITHUB_OPEN", "yes"),
        ("SOURCE_GRAPH_VERIFY_TOKEN", "t"),
        ("SOURCE_SNS_TOPIC", "arn:aws:sns:eu-north-1:123456789012:orders"),
        ("SOURCE_STANDARD_WEBHOOKS_PUBLIC_KEY", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="),
        ("SOURCE_STRIPE_SIGNING_SECRET", "s"),
    ]), @r#"
    ecovelo ecovelo: access key
    e-conomic e-conomic: access key
    e-conomic-2 plain: access key
    fatture-in-cloud fatture-in-cloud: signed token
    forge github: signature and access key
    github plain: open to everybody
    graph graph: token in the body
    sns sns: signature
    standard-webhooks standard-webhooks: signature
    stripe stripe: signature
    "#);
}

#[test]
fn a_scheme_says_what_it_needs() {
    assert_snapshot!(problems(&[
        ("SOURCE_FATTURE_IN_CLOUD_SCHEME", "fatture-in-cloud"),
        ("SOURCE_GITHUB_ACCESS_KEY", "k"),
        ("SOURCE_GRAPH_OPEN", "yes"),
        ("SOURCE_HMAC_SIGNING_SECRET", "s"),
        ("SOURCE_META_SIGNING_SECRET", "s"),
        ("SOURCE_SNS_ACCESS_KEY", "k"),
        ("SOURCE_STANDARD_WEBHOOKS_SCHEME", "standard-webhooks"),
        ("SOURCE_TWILIO_SIGNING_SECRET", "s"),
    ]), @r#"
    SOURCE_FATTURE_IN_CLOUD_URL: is needed by the scheme fatture-in-cloud: set it to the public URL of this source, exactly as the provider has it
    SOURCE_GITHUB_SIGNING_SECRET: is needed by the scheme github: set it to the secret that the provider signs with, or choose the scheme plain
    SOURCE_GRAPH_VERIFY_TOKEN: is needed by the scheme graph: set it to the token that you have given to the provider
    SOURCE_GRAPH_OPEN: has no effect on a source that is protected; remove it, or the protection
    SOURCE_HMAC_SIGNATURE_HEADER: is needed by the scheme hmac: set it to the name of the header that holds the signature
    SOURCE_META_VERIFY_TOKEN: is needed by the scheme meta: set it to the token that you have given to the provider
    SOURCE_SNS_TOPIC: is needed by the scheme sns: set it to the ARN of the topic, like arn:aws:sns:eu-north-1:123456789012:orders
    SOURCE_STANDARD_WEBHOOKS_SIGNING_SECRET: is needed by the scheme standard-webhooks: set it to the secret that the provider signs with, or choose the scheme plain
    SOURCE_TWILIO_URL: is needed by the scheme twilio: set it to the public URL of this source, exactly as the provider has it
    "#);
}

#[test]
fn a_setting_that_the_scheme_cannot_use_is_refused() {
    assert_snapshot!(problems(&[
        ("SOURCE_E_CONOMIC_SIGNING_SECRET", "s3cret"),
        ("SOURCE_E_CONOMIC_ACCESS_KEY", "k"),
        ("SOURCE_ECOVELO_SIGNING_SECRET", "s3cret"),
        ("SOURCE_GITHUB_SIGNING_SECRET", "s3cret"),
        ("SOURCE_GITHUB_SIGNATURE_HEADER", "x-signature"),
        ("SOURCE_GITHUB_TOPIC", "t"),
        ("SOURCE_STRIPE_SIGNING_SECRET", "s3cret"),
        ("SOURCE_STRIPE_PUBLIC_KEY", "s3cret"),
        ("SOURCE_STRIPE_OPEN", "yes"),
    ]), @r#"
    SOURCE_ECOVELO_SIGNING_SECRET: has no effect with the scheme ecovelo, which verifies no signatures; remove it, and set SOURCE_ECOVELO_ACCESS_KEY instead
    SOURCE_ECOVELO_ACCESS_KEY: the source ecovelo is not protected: set this to a long random key, or SOURCE_ECOVELO_ALLOW_IPS to the addresses that may send, or, if really everybody may send, SOURCE_ECOVELO_OPEN=yes
    SOURCE_E_CONOMIC_SIGNING_SECRET: has no effect with the scheme e-conomic, which verifies no signatures; remove it, and set SOURCE_E_CONOMIC_ACCESS_KEY instead
    SOURCE_GITHUB_TOPIC: has no effect with the scheme github, which uses SOURCE_GITHUB_SIGNING_SECRET; remove it
    SOURCE_GITHUB_SIGNATURE_HEADER: has no effect with the scheme github, which uses SOURCE_GITHUB_SIGNING_SECRET; remove it
    SOURCE_STRIPE_PUBLIC_KEY: has no effect with the scheme stripe, which uses SOURCE_STRIPE_SIGNING_SECRET; remove it
    SOURCE_STRIPE_OPEN: has no effect on a source that is protected; remove it, or the protection
    "#);
}

#[test]
fn keys_and_addresses_are_looked_at() {
    assert_snapshot!(problems(&[
        ("SOURCE_A_SCHEME", "standard-webhooks"),
        ("SOURCE_A_SIGNING_SECRET", "whsec_s3cret! whsec_"),
        ("SOURCE_A_PUBLIC_KEY", "whpk_czNjcmV0"),
        ("SOURCE_B_SCHEME", "fatture-in-cloud"),
        ("SOURCE_B_PUBLIC_KEY", "-----BEGIN PUBLIC KEY-----\nczNjcmV0\n-----END PUBLIC KEY-----"),
        ("SOURCE_B_URL", "hooks.example"),
        ("SOURCE_C_SCHEME", "twilio"),
        ("SOURCE_C_SIGNING_SECRET", " "),
        ("SOURCE_C_URL", "https://hooks.example/a b"),
        ("SOURCE_D_SCHEME", "sns"),
        ("SOURCE_D_TOPIC", "orders"),
        ("SOURCE_D_SIGNING_SECRET", "s3cret"),
    ]), @r#"
    SOURCE_A_PUBLIC_KEY: a public key of this scheme is 32 bytes as Base64, after whpk_
    SOURCE_A_SIGNING_SECRET: a secret of this scheme is Base64, after whsec_ or not
    SOURCE_A_SIGNING_SECRET: holds an empty secret
    SOURCE_B_PUBLIC_KEY: is not a P-256 public key in PEM (line breaks may be written as \n)
    SOURCE_B_URL: is not a URL like https://hooks.example.com/webhooks/shop
    SOURCE_C_SIGNING_SECRET: is needed by the scheme twilio: set it to the secret that the provider signs with, or choose the scheme plain
    SOURCE_C_URL: is not a URL like https://hooks.example.com/webhooks/shop
    SOURCE_D_SIGNING_SECRET: has no effect with the scheme sns, which uses SOURCE_D_TOPIC; remove it
    SOURCE_D_TOPIC: is not the ARN of a topic, like arn:aws:sns:eu-north-1:123456789012:orders
    "#);
}

#[test]
fn a_description_of_a_signature_is_looked_at() {
    let described = |settings: &[(&str, &str)]| {
        problems(&[&[("SOURCE_HMAC_SIGNING_SECRET", "s"), ("SOURCE_HMAC_SIGNATURE_HEADER", "x-s")], settings].concat())
    };
    assert_snapshot!(described(&[("SOURCE_HMAC_SIGNATURE_FORMAT", "sha256={sha256-hex};")]), @"SOURCE_HMAC_SIGNATURE_FORMAT: does not end with one of {sha256-hex}, {sha256-base64}, {sha1-hex}, {sha1-base64}, {sha512-hex}, {sha512-base64}");
    assert_snapshot!(described(&[("SOURCE_HMAC_SIGNED_CONTENT", "{timestamp}")]), @"SOURCE_HMAC_SIGNED_CONTENT: is not text around {id}, {timestamp} and {body}, the last of which it must have");
    assert_snapshot!(described(&[("SOURCE_HMAC_SIGNED_CONTENT", "{text}{body}")]), @"SOURCE_HMAC_SIGNED_CONTENT: is not text around {id}, {timestamp} and {body}, the last of which it must have");
    assert_snapshot!(described(&[("SOURCE_HMAC_SIGNED_CONTENT", "{id}.{timestamp}.{body}")]), @r#"
    SOURCE_HMAC_TIMESTAMP_HEADER: is needed, since the signed content has a {timestamp}
    SOURCE_HMAC_ID_HEADER: is needed, since the signed content has an {id}
    "#);
    assert_snapshot!(described(&[("SOURCE_HMAC_TIMESTAMP_HEADER", "x-time")]), @"SOURCE_HMAC_TIMESTAMP_HEADER: has no effect, since the signed content has no {timestamp}; remove it");
    assert_snapshot!(described(&[("SOURCE_HMAC_TYPE_HEADER", "x type")]), @"SOURCE_HMAC_TYPE_HEADER: 'x type' is not the name of a header");
}
