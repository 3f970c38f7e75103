//! Credentials that somebody left in the source.
//!
//! A false alarm costs a document and a miss publishes a credential, so each kind asks for the shape that its issuer
//! gives it, and values without a fixed shape for a telling name and randomness.

use serde::{Deserialize, Serialize};

/// What kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// A PEM block of a private key.
    PrivateKey,
    /// An access key of Amazon Web Services.
    AwsAccessKey,
    /// An API key of Google Cloud.
    GoogleApiKey,
    /// A token of GitHub.
    GithubToken,
    /// A token of GitLab.
    GitlabToken,
    /// A token or webhook of Slack.
    SlackToken,
    /// An API key that starts with `sk-`, as OpenAI's and Anthropic's do.
    AiApiKey,
    /// A live key of Stripe.
    StripeKey,
    /// A token of Hugging Face.
    HuggingFaceToken,
    /// A token of a package registry (npm, PyPI).
    RegistryToken,
    /// A signed JSON Web Token.
    JsonWebToken,
    /// A random value assigned to something named password, secret, token, ...
    AssignedSecret,
}

impl SecretKind {
    /// A few words for a message.
    pub fn describe(self) -> &'static str {
        match self {
            Self::PrivateKey => "private key",
            Self::AwsAccessKey => "AWS access key",
            Self::GoogleApiKey => "Google API key",
            Self::GithubToken => "GitHub token",
            Self::GitlabToken => "GitLab token",
            Self::SlackToken => "Slack token",
            Self::AiApiKey => "AI API key",
            Self::StripeKey => "Stripe key",
            Self::HuggingFaceToken => "Hugging Face token",
            Self::RegistryToken => "package registry token",
            Self::JsonWebToken => "JSON Web Token",
            Self::AssignedSecret => "assigned secret",
        }
    }
}

/// The first secret of a text and the offset in bytes at which it starts.
pub fn find_secret(text: &str) -> Option<(SecretKind, usize)> {
    let bytes = text.as_bytes();
    let mut inside_word = false;
    for at in 0..bytes.len() {
        let rest = &bytes[at..];
        let byte = bytes[at];
        let found = match byte {
            b'-' => is_private_key(rest).then_some(SecretKind::PrivateKey),
            b'"' | b'\'' => assigned_secret(bytes, at).then_some(SecretKind::AssignedSecret),
            _ if inside_word => None,
            _ => token(rest),
        };
        if let Some(kind) = found {
            return Some((kind, at));
        }
        inside_word = byte.is_ascii_alphanumeric() || byte == b'_';
    }
    None
}

/// Whether a PEM block starts here that really holds a key, and is not just the marker that a program looks for.
fn is_private_key(rest: &[u8]) -> bool {
    let Some(rest) = rest.strip_prefix(b"-----BEGIN ") else { return false };
    let label = &rest[..rest.len().min(64)];
    let Some(end) = find(label, b"-----") else { return false };
    if find(&label[..end], b"PRIVATE KEY").is_none() {
        return false;
    }
    let body = &rest[end + 5..];
    let body = &body[..find(body, b"-----").unwrap_or(body.len()).min(4096)];
    let longest = body.split(|byte| !is_base64(*byte)).map(<[u8]>::len).max().unwrap_or(0);
    let all = body.iter().filter(|byte| is_base64(**byte)).count();
    // Keys stand in lines of 64 characters; `\n` between the lines of a literal leaves an `n`.
    longest >= 40 && all >= 64 && entropy(body.iter().copied().filter(|b| is_base64(*b))) > 4.5
}

/// Tokens whose prefix tells who issued them.
fn token(rest: &[u8]) -> Option<SecretKind> {
    let run = |prefix: &[u8], is_part: fn(u8) -> bool| {
        rest.strip_prefix(prefix).map(|rest| &rest[..count(rest, is_part)])
    };
    let random = |value: &[u8], length: std::ops::RangeInclusive<usize>| {
        length.contains(&value.len()) && is_random(value, 1)
    };
    match rest[0] {
        b'A' => {
            let aws = run(b"AKIA", is_alphanumeric).or_else(|| run(b"ASIA", is_alphanumeric));
            if aws.is_some_and(is_aws_key) {
                return Some(SecretKind::AwsAccessKey);
            }
            let google = run(b"AIza", is_url_safe)?;
            random(google, 35..=35).then_some(SecretKind::GoogleApiKey)
        }
        b'g' => {
            let github = [&b"ghp_"[..], b"gho_", b"ghu_", b"ghs_", b"ghr_"]
                .iter()
                .find_map(|prefix| run(prefix, is_alphanumeric));
            if github.is_some_and(|value| random(value, 36..=251))
                || run(b"github_pat_", is_url_safe).is_some_and(|value| random(value, 60..=251))
            {
                return Some(SecretKind::GithubToken);
            }
            let gitlab = run(b"glpat-", is_url_safe)?;
            random(gitlab, 20..=64).then_some(SecretKind::GitlabToken)
        }
        b'x' => {
            let slack = [&b"xoxb-"[..], b"xoxp-", b"xoxa-", b"xoxr-", b"xoxs-"]
                .iter()
                .find_map(|prefix| run(prefix, is_url_safe))?;
            random(slack, 20..=251).then_some(SecretKind::SlackToken)
        }
        b'h' => {
            if let Some(path) = run(b"hooks.slack.com/services/", is_path) {
                return (path.starts_with(b"T") && random(path, 40..=100))
                    .then_some(SecretKind::SlackToken);
            }
            random(run(b"hf_", is_alphanumeric)?, 34..=40).then_some(SecretKind::HuggingFaceToken)
        }
        b's' => {
            let stripe =
                run(b"sk_live_", is_alphanumeric).or_else(|| run(b"rk_live_", is_alphanumeric));
            if stripe.is_some_and(|value| random(value, 24..=251)) {
                return Some(SecretKind::StripeKey);
            }
            random(run(b"sk-", is_url_safe)?, 32..=251).then_some(SecretKind::AiApiKey)
        }
        b'n' => {
            random(run(b"npm_", is_alphanumeric)?, 36..=36).then_some(SecretKind::RegistryToken)
        }
        b'p' => random(run(b"pypi-AgEIcHlwaS5vcmc", is_url_safe)?, 50..=400)
            .then_some(SecretKind::RegistryToken),
        b'e' => is_json_web_token(rest).then_some(SecretKind::JsonWebToken),
        _ => None,
    }
}

/// 16 upper-case letters and digits, and not the key of Amazon's own manuals.
fn is_aws_key(value: &[u8]) -> bool {
    value.len() == 16
        && value.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && !value.ends_with(b"EXAMPLE")
        && entropy(value.iter().copied()) >= 2.8
}

/// `header.claims.signature`: `eyJ` is `{"` in base64, twice.
fn is_json_web_token(rest: &[u8]) -> bool {
    let rest = &rest[..count(rest, |byte| is_url_safe(byte) || byte == b'.')];
    let parts: Vec<&[u8]> = rest.split(|byte| *byte == b'.').collect();
    let [header, claims, signature] = parts[..] else { return false };
    [header, claims].iter().all(|part| part.starts_with(b"eyJ") && part.len() >= 16)
        && signature.len() >= 20
}

/// Names whose values are credentials.
const TELLING: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"passphrase",
    b"secret",
    b"token",
    b"apikey",
    b"api_key",
    b"api-key",
    b"accesskey",
    b"access_key",
    b"access-key",
    b"authkey",
    b"auth_key",
    b"private_key",
    b"privatekey",
    b"credential",
    b"client_key",
    b"bearer",
];

/// Whether the literal that opens at `quote` is random and assigned to a telling name on the same line.
fn assigned_secret(bytes: &[u8], quote: usize) -> bool {
    let inner = &bytes[quote + 1..];
    let length =
        count(inner, |byte| is_url_safe(byte) || matches!(byte, b'+' | b'/' | b'.' | b'~'));
    let value = &inner[..length];
    if !(16..=200).contains(&length)
        || inner.get(length) != Some(&bytes[quote])
        || !is_random(value, 3)
    {
        return false;
    }
    let line = bytes[..quote].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    // A longer line is data, not an assignment.
    let before = bytes[line..quote].trim_ascii_end();
    let before = &before[before.len().saturating_sub(120)..];
    assigned_name(before).is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        TELLING.iter().any(|telling| find(&name, telling).is_some())
    })
}

/// The identifier in `name =`, `name[] =`, `name(`, `name{`, `"name":`, `name :`, `<name>=`.
fn assigned_name(before: &[u8]) -> Option<&[u8]> {
    let mut rest = before;
    // A prefix of the literal, as in `std::string(R"..."`, or a type's bracket, may stand between.
    let operator = rest.iter().rposition(|b| matches!(b, b'=' | b':' | b'(' | b'{' | b','))?;
    if rest[operator + 1..]
        .iter()
        .any(|b| !b.is_ascii_whitespace() && !matches!(b, b'R' | b'L' | b'u' | b'8' | b'@'))
    {
        return None;
    }
    if rest[operator] == b',' {
        // `setenv("API_TOKEN", "..."`: the name is the literal before.
        rest = rest[..operator].trim_ascii_end();
        return rest.strip_suffix(b"\"").map(last_word);
    }
    rest = &rest[..operator];
    if rest.ends_with(b"=") || rest.ends_with(b"!") {
        // A comparison.
        return None;
    }
    let is_between = |b: &u8| {
        b.is_ascii_whitespace()
            || matches!(b, b'[' | b']' | b'"' | b'\'' | b':' | b'=' | b')' | b'(')
    };
    let end = rest.iter().rposition(|b| !is_between(b))? + 1;
    Some(last_word(&rest[..end]))
}

fn last_word(bytes: &[u8]) -> &[u8] {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let start = bytes.iter().rposition(|b| !is_part(b)).map_or(0, |at| at + 1);
    &bytes[start..]
}

/// Whether a value looks drawn at random rather than written by a person: at least `digits` digits among letters, many
/// different characters, and few that follow their neighbour as in `abcdef` or `000000`.
fn is_random(value: &[u8], digits: usize) -> bool {
    let found = value.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = value.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let is_hex = value.iter().all(u8::is_ascii_hexdigit);
    if found < digits || letters < 3 || (is_hex && value.len() < 32) {
        return false;
    }
    let steps = value.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
    // Words of a name or a path are long runs of letters of one case.
    let longest_word = value
        .split(|b| !b.is_ascii_lowercase())
        .chain(value.split(|b| !b.is_ascii_uppercase()))
        .map(<[u8]>::len)
        .max()
        .unwrap_or(0);
    // Of the 16 digits of hexadecimal numbers every fifth pair are neighbours.
    let (least_entropy, most_steps) =
        if is_hex { (3.0, value.len() * 2 / 5) } else { (3.4, value.len() / 4) };
    steps <= most_steps
        && longest_word <= 8.max(value.len() / 6)
        && entropy(value.iter().copied()) >= least_entropy
}

/// Shannon entropy in bits per byte of the bytes' own frequencies.
fn entropy(bytes: impl Iterator<Item = u8>) -> f64 {
    let mut counts = [0u32; 256];
    bytes.for_each(|byte| counts[usize::from(byte)] += 1);
    let total = f64::from(counts.iter().sum::<u32>());
    let bits = |n: &u32| {
        let share = f64::from(*n) / total;
        -share * share.log2()
    };
    counts.iter().filter(|n| **n > 0).map(bits).sum()
}

fn count(bytes: &[u8], is_part: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| is_part(**byte)).count()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

fn is_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'/'
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
