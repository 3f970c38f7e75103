//! No example below is a real credential, and each is put together here so that no scanner takes it for one.

use super::super::mix;
use super::*;

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

fn random(alphabet: &[u8], length: usize) -> String {
    (0..length as u64)
        .map(|n| alphabet[(mix(n + 77) % alphabet.len() as u64) as usize] as char)
        .collect()
}

fn kind(text: &str) -> Option<SecretKind> {
    find_secret(text).map(|(kind, _)| kind)
}

#[test]
fn tokens_of_known_issuers_are_found() {
    let value = |length| random(ALPHANUMERIC, length);
    let upper = random(&b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[..], 16);
    for (text, expected) in [
        (format!("key = AKIA{upper};"), SecretKind::AwsAccessKey),
        (format!("\"AIza{}\"", value(35)), SecretKind::GoogleApiKey),
        (format!("// ghp_{}", value(36)), SecretKind::GithubToken),
        (format!("github_pat_{}", value(70)), SecretKind::GithubToken),
        (format!("glpat-{}", value(20)), SecretKind::GitlabToken),
        (format!("xoxb-{}", value(40)), SecretKind::SlackToken),
        (
            format!("https://hooks.slack.com/services/T{}/B{}/{}", value(9), value(9), value(24)),
            SecretKind::SlackToken,
        ),
        (format!("sk-proj-{}", value(48)), SecretKind::AiApiKey),
        (format!("sk_live_{}", value(24)), SecretKind::StripeKey),
        (format!("hf_{}", value(34)), SecretKind::HuggingFaceToken),
        (format!("npm_{}", value(36)), SecretKind::RegistryToken),
        (format!("pypi-AgEIcHlwaS5vcmc{}", value(80)), SecretKind::RegistryToken),
        (format!("eyJ{}.eyJ{}.{}", value(20), value(30), value(43)), SecretKind::JsonWebToken),
    ] {
        assert_eq!(kind(&text), Some(expected), "{text}");
        let part_of_a_word =
            format!("x{}", text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()));
        if !text.contains([' ', ':']) {
            assert_eq!(kind(&part_of_a_word), None, "{part_of_a_word}");
        }
    }
}

#[test]
fn private_keys_need_a_body() {
    let line = random(ALPHANUMERIC, 64);
    for label in ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "] {
        let (begin, end) = (
            format!("-----BEGIN {label}PRIVATE KEY-----"),
            format!("-----END {label}PRIVATE KEY-----"),
        );
        assert_eq!(
            kind(&format!("{begin}\n{line}\n{line}\n{end}\n")),
            Some(SecretKind::PrivateKey)
        );
        let literal = format!("\"{begin}\\n\"\n\"{line}\\n\"\n\"{line}\\n\"\n\"{end}\\n\"");
        assert_eq!(find_secret(&literal), Some((SecretKind::PrivateKey, 1)));
        assert_eq!(kind(&format!("if (StartsWith(line, \"{begin}\")) ReadKey(\"{end}\");")), None);
    }
    let public = format!("-----BEGIN PUBLIC KEY-----\n{line}\n{line}\n-----END PUBLIC KEY-----");
    assert_eq!(kind(&public), None);
}

#[test]
fn random_values_of_telling_names_are_found() {
    let value = random(ALPHANUMERIC, 32);
    for text in [
        format!("const char* password = \"{value}\";"),
        format!("static const char kApiKey[] = \"{value}\";"),
        format!("std::string client_secret(\"{value}\");"),
        format!("  {{\"access_token\": \"{value}\"}}"),
        format!("auth_token: '{value}'"),
        format!("setenv(\"AWS_SECRET_ACCESS_KEY\", \"{value}\", 1);"),
        format!("config[\"db_password\"] = \"{value}\";"),
        format!("std::string token{{\"{value}\"}};"),
    ] {
        assert_eq!(kind(&text), Some(SecretKind::AssignedSecret), "{text}");
    }
}

#[test]
fn ordinary_code_is_no_secret() {
    let value = random(ALPHANUMERIC, 32);
    for text in [
        // No telling name, or a comparison.
        format!("const char* kDigest = \"{value}\";"),
        format!("if (token == \"{value}\") return;"),
        format!("Sha256(\"{value}\", secret);"),
        // Words, paths, alphabets, placeholders.
        "std::string token = \"kTokenTypeIdentifier2\";".to_owned(),
        "password = \"correct-horse-battery-staple\";".to_owned(),
        "password_file = \"/etc/security/passwords/db1.txt\";".to_owned(),
        "token_chars = \"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\";".to_owned(),
        "secret = \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx123\";".to_owned(),
        "secret = \"00000000000000000000000000000000\";".to_owned(),
        "password = \"<your-password-here-123>\";".to_owned(),
        "token = \"%s:%d/%08x-%08x-%08x\";".to_owned(),
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        "sk-learn-compatible-estimators-are-listed-below-in-alphabetical-order".to_owned(),
        "task-0001-aaaa-bbbb".to_owned(),
        "eyJust.a.name".to_owned(),
        "ghp_short AIzaShort xoxb-1 hf_model_name npm_install".to_owned(),
        String::new(),
    ] {
        assert_eq!(kind(&text), None, "{text}");
    }
}

#[test]
fn any_text_can_be_searched() {
    use proptest::prelude::*;
    proptest!(|(text in "[\"'=\\-A-Za-z0-9 \n_üAKIAeyJ.]{0,400}")| {
        if let Some((_, at)) = find_secret(&text) {
            prop_assert!(at < text.len());
        }
    });
}
