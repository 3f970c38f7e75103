//! What a client's error means: whether to try again, what to tell.

use std::error::Error as StdError;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use crate::error::Cause;

/// Whether the same request may succeed a little later.
pub(crate) fn is_transient(error: &Error) -> bool {
    if !matches!(error, Error::Generic { .. }) {
        return false;
    }
    if let Some(http) = http_error(error) {
        return !matches!(http.kind(), HttpErrorKind::Decode | HttpErrorKind::Unknown)
            || broke_off(http);
    }
    status(&error.to_string()).is_some_and(may_pass)
}

/// Answers of a server that is overloaded or being restarted. 501 means that it will never do that.
fn may_pass(status: u16) -> bool {
    (status >= 500 && status != 501) || status == 429
}

/// A body that ended too soon counts as one that cannot be decoded.
fn broke_off(error: &HttpError) -> bool {
    let text = innermost(error).to_string();
    ["closed", "reset", "incomplete", "end of file", "unexpected EOF", "error reading a body"]
        .iter()
        .any(|part| text.contains(part))
}

/// The class of a failure.
pub(crate) fn cause(error: &Error) -> Cause {
    let text = error.to_string();
    let no_bucket = ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"];
    match error {
        _ if asked_the_machine(&text) => Cause::NoCredentials,
        _ if no_bucket.iter().any(|part| text.contains(part)) => Cause::NoBucket,
        Error::NotFound { .. } => Cause::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Cause::Denied,
        Error::UnknownConfigurationKey { .. } => Cause::Settings,
        _ if text.contains("without LOCATION") || text.contains("PermanentRedirect") => {
            Cause::Settings
        }
        _ if http_error(error).is_some() || text.contains("error sending request") => {
            Cause::Unreachable
        }
        _ if status(&text).is_some_and(may_pass) => Cause::Unreachable,
        _ if text.contains("InvalidAccessKeyId") || text.contains("SignatureDoesNotMatch") => {
            Cause::Denied
        }
        _ => Cause::Other,
    }
}

/// What the server or the network said, in few words.
pub(crate) fn reason(error: &Error) -> String {
    let text = error.to_string();
    if asked_the_machine(&text) {
        return "no credentials found, and this machine's cloud gives none".to_owned();
    }
    if let Some(said) = said_by_server(&text) {
        return said;
    }
    if let Some(http) = http_error(error) {
        return innermost(http).to_string();
    }
    match (error, status(&text)) {
        (Error::NotFound { .. }, _) => "there is no such object".to_owned(),
        (Error::PermissionDenied { .. }, _) => "access is denied".to_owned(),
        (Error::Unauthenticated { .. }, _) => "credentials are asked for".to_owned(),
        (_, Some(status)) => format!("the server answered with status {status}"),
        _ => innermost(error).to_string(),
    }
}

/// Whether what failed was asking the cloud machine that this may be for its own credentials.
fn asked_the_machine(text: &str) -> bool {
    text.contains("http://169.254.") || text.contains("metadata.google.internal")
}

/// Code and message of the XML that all three clouds answer errors with.
fn said_by_server(text: &str) -> Option<String> {
    let between = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once(&format!("</{tag}>"))?.0.trim().replace('\n', " "))
    };
    let code = between("Code")?;
    Some(match between("Message") {
        Some(message) if !message.is_empty() => format!("{message} ({code})"),
        _ => code,
    })
}

/// The status of a response, which the client's error tells in words alone.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

fn http_error(error: &Error) -> Option<&HttpError> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

fn innermost<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    chain(error).last().unwrap_or(error)
}

pub(crate) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.into() }
    }

    fn network(kind: HttpErrorKind, text: &'static str) -> Error {
        let source = HttpError::new(kind, std::io::Error::other(text));
        Error::Generic { store: "S3", source: Box::new(source) }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for status in [500, 502, 503, 504, 429] {
            assert!(is_transient(&generic(&format!("x: status code: {status} Oh: "))), "{status}");
        }
        for status in [400, 405, 301, 501] {
            assert!(!is_transient(&generic(&format!("x: status code: {status} Oh: "))), "{status}");
        }
        for kind in [HttpErrorKind::Connect, HttpErrorKind::Timeout, HttpErrorKind::Interrupted] {
            assert!(is_transient(&network(kind, "gone")));
        }
        assert!(is_transient(&network(HttpErrorKind::Decode, "connection closed before the end")));
        assert!(!is_transient(&network(HttpErrorKind::Decode, "not gzip")));
        let missing = Error::NotFound { path: "x".into(), source: "gone".into() };
        assert!(!is_transient(&missing));
    }

    #[test]
    fn what_the_server_said_is_told() {
        let body = "status code: 404 Not Found: <?xml?><Error><Code>NoSuchBucket</Code>\
                    <Message>The specified bucket does not exist</Message></Error>";
        let error = Error::NotFound { path: "x".into(), source: body.into() };
        assert_eq!(reason(&error), "The specified bucket does not exist (NoSuchBucket)");
        assert_eq!(cause(&error), Cause::NoBucket);
        let error = Error::NotFound { path: "x".into(), source: "404".into() };
        assert_eq!(
            (cause(&error), reason(&error).as_str()),
            (Cause::NotFound, "there is no such object")
        );
        let error =
            generic("Error performing PUT http://169.254.169.254/latest: status code: 403 x");
        assert_eq!(cause(&error), Cause::NoCredentials);
        assert!(reason(&error).starts_with("no credentials found"));
        let error = network(HttpErrorKind::Connect, "Connection refused");
        assert_eq!(
            (cause(&error), reason(&error).as_str()),
            (Cause::Unreachable, "Connection refused")
        );
        let error = generic("x status code: 503 Slow: ");
        assert_eq!(
            (cause(&error), reason(&error).as_str()),
            (Cause::Unreachable, "the server answered with status 503")
        );
    }
}
