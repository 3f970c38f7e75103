//! Local folders and object stores behind one interface.
//!
//! A [`Location`] is a path or a URL: `s3://`, `gs://`, `az://`, `http(s)://` (read only), `file://`. A [`Store`] lists,
//! reads, writes and deletes what locations name; requests are tried again, large files go in parts, interrupted reads go
//! on where they stopped, and a file appears whole or not at all. On top of it [`Inputs`] gives local paths for whatever a
//! command reads, and [`Output`] a local place for what it writes, published when it is complete; so commands know of local
//! files alone.
//!
//! ```
//! use kiln_store::{Location, Store};
//!
//! let store = Store::in_memory(&["s3://bucket"]);
//! let folder = Location::parse("s3://bucket/documents").unwrap();
//! store.put(b"{}", &folder.join("a/b.json")).unwrap();
//! let found = store.list(&folder).unwrap();
//! assert_eq!((found[0].name.as_str(), found[0].size), ("a/b.json", Some(2)));
//! ```
//!
//! Credentials, endpoints and regions come from the environment variables that each provider's own tools read
//! (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, ...). Nothing
//! is set up, and no thread started, until a remote location is used.

mod aws_profile;
mod catalogue;
mod connect;
mod credentials;
mod download;
mod environment;
mod error;
mod failure;
mod inputs;
mod local;
mod location;
mod output;
mod retry;
mod runtime;
mod staging;
mod store;
mod tree;
mod upload;

pub use error::{Cause, Operation, StoreError};
pub use inputs::{Inputs, OnFetch};
pub use location::{Location, Remote, Scheme};
pub use output::{Earlier, Output};
pub use retry::Patience;
pub use staging::{Staging, clean_up, forget, stands_for, with_urls};
pub use store::{Entry, Kind, Store};
pub use tree::{LAST_NAMES, OnProgress, Progress};
pub use upload::PART_BYTES;
