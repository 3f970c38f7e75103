//! What can go wrong with a store, each naming the URL, what was to be done there, and what helps.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::location::Scheme;

/// What was to be done with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Making ready to use the store.
    Open,
    /// Finding what a folder holds.
    List,
    /// Reading an object, or whether there is one.
    Read,
    /// Writing an object.
    Write,
    /// Removing an object.
    Delete,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        })
    }
}

/// Why a store did not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There is no such object or folder.
    NotFound,
    /// There is no such bucket or container.
    NoBucket,
    /// No credentials were found.
    NoCredentials,
    /// The credentials are wrong, or do not allow it.
    Denied,
    /// The server cannot be reached, or the connection broke again and again.
    Unreachable,
    /// The store is in another region, or something else in its settings is wrong.
    Settings,
    /// A web server does not tell what its folders hold.
    NoListing,
    /// A web server's files can only be read.
    ReadOnly,
    /// Something else; the store's own words say what.
    Other,
}

/// An error of reaching, reading or writing a location.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No location: what is wrong with the URL.
    #[error("{url}: {reason}")]
    Url {
        /// As the user wrote it.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A store did not do what it was asked for.
    #[error("cannot {operation} {url}: {reason}")]
    Request {
        /// What was asked for.
        operation: Operation,
        /// The URL, without secrets.
        url: String,
        /// Its kind of store.
        scheme: Scheme,
        /// The class of the failure.
        cause: Cause,
        /// What the store or the network said.
        reason: String,
    },
    /// A name in a store that no local file can have, or the reverse.
    #[error("{name:?} in {folder} {reason}")]
    Name {
        /// The name.
        name: String,
        /// The folder that has it.
        folder: String,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// A local file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A finished output could not be brought to its place; it is kept.
    #[error("{source}; what was made is kept in {}", path.display())]
    Kept {
        /// Where it is kept.
        path: PathBuf,
        /// Why it could not be brought to its place.
        source: Box<StoreError>,
    },
}

impl StoreError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// The class of the failure, of those that a store is the reason of.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Request { cause, .. } => Some(*cause),
            Self::Kept { source, .. } => source.cause(),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Kept { path, source } => {
                let copy = format!("`kiln copy {} URL` brings it there", path.display());
                Some(source.hint().map_or(copy.clone(), |hint| format!("{hint}; then {copy}")))
            }
            Self::Request { scheme, cause, operation, .. } => hint(*scheme, *cause, *operation),
            _ => None,
        }
    }
}

fn hint(scheme: Scheme, cause: Cause, operation: Operation) -> Option<String> {
    let text = match cause {
        Cause::NotFound if operation == Operation::Write => return None,
        Cause::NotFound => "names are case-sensitive; a folder is found if something lies in it",
        Cause::NoBucket => match scheme {
            Scheme::S3 => {
                "make the bucket first; AWS_ENDPOINT_URL says whose it is if not Amazon's"
            }
            _ => "make it first, and check its spelling",
        },
        Cause::NoCredentials | Cause::Denied => match scheme {
            Scheme::S3 => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN, AWS_PROFILE), \
                 AWS_ENDPOINT_URL for another server than Amazon's, AWS_SKIP_SIGNATURE=true for public buckets"
            }
            Scheme::Gs => {
                "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT to a key file, or \
                 GOOGLE_SKIP_SIGNATURE=true for public buckets"
            }
            Scheme::Az => {
                "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY (or AZURE_STORAGE_SAS_TOKEN), or \
                 AZURE_SKIP_SIGNATURE=true for public containers"
            }
            _ => "http://USER:PASSWORD@HOST/ gives a name and a password",
        },
        Cause::Unreachable => match scheme {
            Scheme::S3 => "check the network, AWS_ENDPOINT_URL and AWS_REGION",
            Scheme::Gs => "check the network and GOOGLE_BASE_URL",
            Scheme::Az => "check the network, AZURE_STORAGE_ACCOUNT_NAME and AZURE_ENDPOINT",
            _ => "check the network and the address",
        },
        Cause::Settings => match scheme {
            Scheme::S3 => "AWS_REGION names the bucket's region, AWS_ENDPOINT_URL its server",
            Scheme::Az => "AZURE_STORAGE_ACCOUNT_NAME names the account",
            _ => return None,
        },
        Cause::NoListing => "give the URLs of single files, or of a folder that Kiln wrote",
        Cause::ReadOnly => "write to a local folder, s3://, gs:// or az://",
        Cause::Other => return None,
    };
    Some(text.to_owned())
}
