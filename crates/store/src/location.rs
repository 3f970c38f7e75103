//! Where something lies: a path of this machine, or an object's URL.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::error::StoreError;

/// How a remote location is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Amazon S3 and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
    /// A web server; read only.
    Http,
    /// A web server with TLS; read only.
    Https,
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "s3" | "s3a" => Self::S3,
            "gs" => Self::Gs,
            "az" | "azure" | "abfs" | "abfss" => Self::Az,
            "http" => Self::Http,
            "https" => Self::Https,
            _ => return None,
        })
    }

    /// As it stands before `://`.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Whether it is a web server, whose URLs are percent-encoded and which can only be read.
    pub fn is_web(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// An object, or a folder of objects: those whose keys begin with its key and a `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Remote {
    /// How it is reached.
    pub scheme: Scheme,
    /// Bucket, container or host (with port, user and password where the URL had them).
    pub authority: String,
    /// Name in the bucket, without a `/` at either end; empty for the bucket itself. Of web servers' URLs it is decoded.
    pub key: String,
    /// Whether the URL ended with `/`, so that it can only mean a folder.
    pub is_folder: bool,
    /// What followed `?` in a web server's URL.
    pub query: Option<String>,
}

/// A path of this machine, or a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// A path of this machine.
    Local(PathBuf),
    /// Something in an object store or on a web server.
    Remote(Remote),
}

impl Location {
    /// Reads what a user wrote. `s3://`, `gs://`, `az://`, `http://`, `https://` and `file://` begin URLs; everything else
    /// is a path, `s3:/x` and `./s3://x` too. Keys of buckets stand as they are; web and file URLs are percent-encoded.
    ///
    /// # Errors
    /// [`StoreError::Url`] for a URL that names nothing, and for one of another scheme (unless there is such a path).
    pub fn parse(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let local = || Ok(Self::Local(path.to_owned()));
        let Some((scheme, rest)) = path.to_str().and_then(|text| text.split_once("://")) else {
            return local();
        };
        let lower = scheme.to_ascii_lowercase();
        if lower == "file" {
            return parse_file_url(path, rest);
        }
        match Scheme::parse(&lower) {
            Some(scheme) if scheme.is_web() => parse_web_url(path, scheme),
            Some(scheme) => parse_bucket_url(path, scheme, rest),
            None if is_scheme(&lower) && !path.exists() => Err(bad_url(
                path,
                "its scheme is none of s3://, gs://, az://, http://, https:// and file://",
            )),
            None => local(),
        }
    }

    /// Whether it is not on this machine.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// What lies at a relative path below it, parts separated by `/`.
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Local(path) => Self::Local(path.join(name)),
            Self::Remote(remote) => {
                let key = match (remote.key.as_str(), name.trim_end_matches('/')) {
                    ("", name) => name.to_owned(),
                    (key, "") => key.to_owned(),
                    (key, name) => format!("{key}/{name}"),
                };
                let is_folder = name.ends_with('/') || (name.is_empty() && remote.is_folder);
                Self::Remote(Remote { key, is_folder, ..remote.clone() })
            }
        }
    }

    /// Its last part: of a bucket, the bucket's name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Local(path) => path.file_name()?.to_str(),
            Self::Remote(remote) => {
                let last = remote.key.rsplit('/').next().filter(|last| !last.is_empty());
                Some(last.unwrap_or(remote.host()))
            }
        }
    }

    /// What it lies in, and its name there; none for a bucket.
    pub fn split(&self) -> Option<(Self, String)> {
        match self {
            Self::Local(path) => Some((
                Self::Local(path.parent()?.to_owned()),
                path.file_name()?.to_str()?.to_owned(),
            )),
            Self::Remote(remote) if remote.key.is_empty() => None,
            Self::Remote(remote) => {
                let (folder, name) = remote.key.rsplit_once('/').unwrap_or(("", &remote.key));
                let parent = Remote { key: folder.to_owned(), is_folder: true, ..remote.clone() };
                Some((Self::Remote(parent), name.to_owned()))
            }
        }
    }
}

impl Remote {
    /// Bucket, container or host, without user and password.
    pub fn host(&self) -> &str {
        if self.scheme.is_web() {
            self.authority.rsplit('@').next().unwrap_or(&self.authority)
        } else {
            &self.authority
        }
    }
}

impl fmt::Display for Remote {
    /// The URL. What may be secret in a web server's (password, query) is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.host())?;
        let folder = if self.is_folder || self.key.is_empty() { "/" } else { "" };
        if self.key.is_empty() {
            return f.write_str(folder);
        }
        if !self.scheme.is_web() {
            return write!(f, "/{}{folder}", self.key);
        }
        for part in self.key.split('/') {
            f.write_str("/")?;
            write_encoded(f, part)?;
        }
        let query = if self.query.is_some() { "?..." } else { "" };
        write!(f, "{folder}{query}")
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

/// Percent-encodes what cannot stand in a part of a URL's path.
fn write_encoded(f: &mut fmt::Formatter<'_>, part: &str) -> fmt::Result {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

fn bad_url(path: &Path, reason: impl Into<String>) -> StoreError {
    StoreError::Url { url: path.display().to_string(), reason: reason.into() }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn parse_bucket_url(path: &Path, scheme: Scheme, rest: &str) -> Result<Location, StoreError> {
    let (authority, key) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.is_empty() {
        return Err(bad_url(path, format!("expected {}://BUCKET/KEY", scheme.name())));
    }
    let is_folder = key.ends_with('/') || key.is_empty();
    let key = key.strip_suffix('/').unwrap_or(key);
    check_key(path, key)?;
    let (authority, key) = (authority.to_owned(), key.to_owned());
    Ok(Location::Remote(Remote { scheme, authority, key, is_folder, query: None }))
}

fn parse_web_url(path: &Path, scheme: Scheme) -> Result<Location, StoreError> {
    let text = path.to_str().unwrap_or_default();
    let url = url::Url::parse(text).map_err(|e| bad_url(path, e.to_string()))?;
    let authority = match url.authority() {
        "" => return Err(bad_url(path, "it names no host")),
        authority => authority.to_owned(),
    };
    let decoded = decode(url.path()).ok_or_else(|| bad_url(path, "its path is not UTF-8"))?;
    let key = decoded.trim_start_matches('/');
    let is_folder = key.is_empty() || key.ends_with('/');
    let key = key.strip_suffix('/').unwrap_or(key);
    check_key(path, key)?;
    let (key, query) = (key.to_owned(), url.query().map(str::to_owned));
    Ok(Location::Remote(Remote { scheme, authority, key, is_folder, query }))
}

/// `file:///absolute`, also with `localhost` between.
fn parse_file_url(path: &Path, rest: &str) -> Result<Location, StoreError> {
    let rest = rest.strip_prefix("localhost").filter(|r| r.starts_with('/')).unwrap_or(rest);
    if !rest.starts_with('/') {
        return Err(bad_url(path, "expected file:///PATH with the whole path from /"));
    }
    let bytes = decode_bytes(rest);
    #[cfg(unix)]
    let local = {
        use std::os::unix::ffi::OsStringExt;
        PathBuf::from(std::ffi::OsString::from_vec(bytes))
    };
    #[cfg(not(unix))]
    let local =
        PathBuf::from(String::from_utf8(bytes).map_err(|_| bad_url(path, "it is not UTF-8"))?);
    Ok(Location::Local(local))
}

fn decode(text: &str) -> Option<String> {
    String::from_utf8(decode_bytes(text)).ok()
}

/// Takes `%41` for `A`; a `%` without two hexadecimal digits stands for itself.
fn decode_bytes(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((16 * high + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Refuses keys that no path of this machine could stand for.
fn check_key(path: &Path, key: &str) -> Result<(), StoreError> {
    if key.is_empty() || is_plain(key) {
        return Ok(());
    }
    Err(bad_url(path, "a part of its path is empty, `.`, `..` or has a control character"))
}

/// Whether a relative path stays below what it is joined to, on any system's terms.
pub(crate) fn is_plain(relative: &str) -> bool {
    let parts = relative.split('/');
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    !relative.is_empty()
        && !relative.chars().any(|c| c.is_control())
        && parts.clone().all(plain)
        && Path::new(relative).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(text: &str) -> Remote {
        match Location::parse(text).unwrap() {
            Location::Remote(remote) => remote,
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn buckets_and_keys_are_taken_as_they_stand() {
        let at = remote("s3://bucket/a b/c%20d#e?f.cc");
        assert_eq!((at.scheme, at.authority.as_str()), (Scheme::S3, "bucket"));
        assert_eq!((at.key.as_str(), at.is_folder), ("a b/c%20d#e?f.cc", false));
        assert_eq!(at.to_string(), "s3://bucket/a b/c%20d#e?f.cc");
        let at = remote("gs://bucket/folder/");
        assert_eq!((at.key.as_str(), at.is_folder), ("folder", true));
        assert_eq!(at.to_string(), "gs://bucket/folder/");
        for text in ["az://box", "az://box/"] {
            let at = remote(text);
            assert_eq!((at.scheme, at.key.as_str(), at.is_folder), (Scheme::Az, "", true));
            assert_eq!(at.to_string(), "az://box/");
        }
        assert_eq!(remote("S3://bucket/x").scheme, Scheme::S3);
    }

    #[test]
    fn web_urls_are_decoded_and_shown_without_secrets() {
        let at = remote("https://me:secret@host:8443/a%20b/c%2Bd.jsonl?token=secret");
        assert_eq!((at.scheme, at.key.as_str()), (Scheme::Https, "a b/c+d.jsonl"));
        assert_eq!((at.authority.as_str(), at.host()), ("me:secret@host:8443", "host:8443"));
        assert_eq!(at.query.as_deref(), Some("token=secret"));
        assert_eq!(at.to_string(), "https://host:8443/a%20b/c+d.jsonl?...");
        assert!(remote("http://host").is_folder);
        assert!(remote("http://host/a/").is_folder);
    }

    #[test]
    fn file_urls_are_paths() {
        for (text, path) in [
            ("file:///a/b.cc", "/a/b.cc"),
            ("file:///a%20b/%C3%A9 c", "/a b/é c"),
            ("file://localhost/a", "/a"),
            ("FILE:///100%/x", "/100%/x"),
        ] {
            assert_eq!(Location::parse(text).unwrap(), Location::Local(path.into()), "{text}");
        }
        for text in ["file://a/b", "file://", "file://localhost"] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_scheme_and_two_slashes_make_a_url() {
        for text in ["s3:", "s3:/bucket/x", "./s3://x", "a/b", "-", "", "C:/x", "/a//b", "a b://c"]
        {
            assert_eq!(Location::parse(text).unwrap(), Location::Local(text.into()), "{text}");
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for (text, why) in [
            ("s3://", "expected s3://BUCKET/KEY"),
            ("s3:///key", "expected s3://BUCKET/KEY"),
            ("s3://bucket/a//b", "is empty"),
            ("s3://bucket/../x", "`..`"),
            ("s3://bucket/a/./b", "`.`"),
            ("gs://bucket/a\nb", "control character"),
            ("http://", "host"),
            ("http://host/a%2F%2E%2E%2Fb", "`..`"),
            ("ftp://host/x", "none of s3://"),
        ] {
            let error = Location::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn locations_are_joined_and_split() {
        let bucket = Location::parse("s3://bucket").unwrap();
        let file = bucket.join("a/b.txt");
        assert_eq!(file.to_string(), "s3://bucket/a/b.txt");
        assert_eq!(file.name(), Some("b.txt"));
        let (folder, name) = file.split().unwrap();
        assert_eq!((folder.to_string().as_str(), name.as_str()), ("s3://bucket/a/", "b.txt"));
        assert_eq!(folder.join("c"), bucket.join("a/c"));
        assert_eq!((bucket.name(), bucket.split()), (Some("bucket"), None));
        let local = Location::parse("a").unwrap().join("b");
        assert_eq!((local.to_string(), local.is_remote()), ("a/b".to_owned(), false));
    }

    #[test]
    fn plain_paths_stay_below() {
        for path in ["a", "a/b.c", "a b/ü", "...", "a/..b"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["", "/a", "a/", "a//b", "..", "a/../b", ".", "a\0", "a\nb"] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
