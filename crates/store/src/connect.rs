//! Clients of stores, set up from the usual environment variables.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, resolve_bucket_region};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use crate::aws_profile::Profile;
use crate::credentials;
use crate::environment::Environment;
use crate::error::{Cause, Operation, StoreError};
use crate::failure;
use crate::location::{Remote, Scheme};
use crate::runtime::{choose_cryptography, wait_for};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// A client of one bucket, container or web server.
pub(crate) struct Connection {
    pub store: Arc<dyn ObjectStore>,
    reached: AtomicBool,
}

impl Connection {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, reached: AtomicBool::new(false) }
    }

    /// Whether a request has ever been answered: a server that was there is worth waiting for.
    pub(crate) fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    pub(crate) fn set_reached(&self) {
        self.reached.store(true, Ordering::Relaxed);
    }

    /// Sets a client up for where a location lies. Nothing is asked of the store yet.
    pub(crate) fn open(remote: &Remote, environment: &Environment) -> Result<Self, StoreError> {
        let failed = |cause, reason: String| StoreError::Request {
            operation: Operation::Open,
            url: remote.to_string(),
            scheme: remote.scheme,
            cause,
            reason,
        };
        choose_cryptography();
        let store = match remote.scheme {
            Scheme::S3 => s3(&remote.authority, environment),
            Scheme::Gs => gs(&remote.authority, environment),
            Scheme::Az => az(&remote.authority, environment),
            Scheme::Http | Scheme::Https => web(remote),
        };
        match store {
            Ok(Some(store)) => Ok(Self::new(store)),
            Ok(None) => Err(failed(Cause::NoCredentials, "no credentials found".to_owned())),
            Err(error) => Err(failed(Cause::Settings, failure::reason(&error))),
        }
    }
}

type Opened = object_store::Result<Option<Arc<dyn ObjectStore>>>;

/// Short: what is worth more patience is retried by [`crate::retry`], which knows whether the server was ever reached.
fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(2),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: 3, retry_timeout: Duration::from_secs(10) }
}

/// A whole request may take as long as it moves. How long a server may be silent also bounds how long a part of an upload
/// may take, so it is long; reading has a bound of its own.
fn options() -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(5))
        .with_read_timeout(REQUEST_TIMEOUT)
}

/// An address without TLS was the user's choice, and needs no certificates of the system's.
fn allow_plain(options: ClientOptions, address: Option<&str>) -> ClientOptions {
    match address {
        Some(address) if address.starts_with("http://") => {
            options.with_allow_http(true).with_no_system_certificates(true)
        }
        _ => options,
    }
}

fn s3(bucket: &str, environment: &Environment) -> Opened {
    let named = environment.beginning("AWS_");
    let configure = |builder: AmazonS3Builder, (name, value): (String, String)| match name.parse() {
        Ok(key) => builder.with_config(key, value),
        Err(_) => builder,
    };
    let mut builder =
        named.into_iter().fold(AmazonS3Builder::new(), configure).with_bucket_name(bucket);
    let has_keys = environment.is_set("AWS_ACCESS_KEY_ID");
    let profile = match environment.is_set("AWS_PROFILE") || !has_keys {
        true => Profile::load(environment),
        false => Profile::default(),
    };
    match (&profile.access_key_id, &profile.secret_access_key) {
        (Some(id), Some(secret)) if !has_keys => {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            if let Some(token) = &profile.session_token {
                builder = builder.with_token(token);
            }
        }
        _ if credentials::are_there(Scheme::S3, environment) => {}
        _ => return Ok(None),
    }
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    let endpoint = endpoint.into_iter().find_map(|name| environment.get(name));
    let endpoint = endpoint.or(profile.endpoint_url);
    if let Some(endpoint) = &endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    let options = allow_plain(client_options(environment, "aws_"), endpoint.as_deref());
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"];
    let region = region.into_iter().find_map(|name| environment.get(name)).or(profile.region);
    // Only Amazon itself tells a bucket's region; if it cannot be reached, the first request will say so.
    let ask = || wait_for(resolve_bucket_region(bucket, &options)).ok();
    if let Some(region) = region.or_else(|| if endpoint.is_none() { ask() } else { None }) {
        builder = builder.with_region(region);
    }
    let store = builder.with_client_options(options).with_retry(retries()).build()?;
    Ok(Some(Arc::new(store)))
}

fn gs(bucket: &str, environment: &Environment) -> Opened {
    if !credentials::are_there(Scheme::Gs, environment) {
        return Ok(None);
    }
    let named = environment.beginning("GOOGLE_");
    let configure =
        |builder: GoogleCloudStorageBuilder, (name, value): (String, String)| match name.parse() {
            Ok(key) => builder.with_config(key, value),
            Err(_) => builder,
        };
    let start = GoogleCloudStorageBuilder::new();
    let builder = named.into_iter().fold(start, configure).with_bucket_name(bucket);
    let endpoint = environment.get("GOOGLE_BASE_URL");
    let options = allow_plain(client_options(environment, "google_"), endpoint.as_deref());
    let store = builder.with_client_options(options).with_retry(retries()).build()?;
    Ok(Some(Arc::new(store)))
}

fn az(authority: &str, environment: &Environment) -> Opened {
    if !credentials::are_there(Scheme::Az, environment) {
        return Ok(None);
    }
    let named = environment.beginning("AZURE_");
    let configure =
        |builder: MicrosoftAzureBuilder, (name, value): (String, String)| match name.parse() {
            Ok(key) => builder.with_config(key, value),
            Err(_) => builder,
        };
    let builder = named.into_iter().fold(MicrosoftAzureBuilder::new(), configure);
    // CONTAINER@ACCOUNT.dfs.core.windows.net, as Hadoop writes it.
    let builder = match authority.contains('@') {
        true => builder.with_url(format!("abfss://{authority}/")),
        false => builder.with_container_name(authority),
    };
    let endpoint = ["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"];
    let endpoint = endpoint.into_iter().find_map(|name| environment.get(name));
    let options = allow_plain(client_options(environment, "azure_"), endpoint.as_deref());
    let store = builder.with_client_options(options).with_retry(retries()).build()?;
    Ok(Some(Arc::new(store)))
}

fn web(remote: &Remote) -> Opened {
    let query = remote.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
    let base = format!("{}://{}/{query}", remote.scheme.name(), remote.authority);
    let options = allow_plain(options(), Some(&base));
    let builder = HttpBuilder::new().with_url(base).with_client_options(options);
    Ok(Some(Arc::new(builder.with_retry(retries()).build()?)))
}

/// Options of the client that the environment sets, such as `AWS_PROXY_URL` and `AWS_ALLOW_HTTP`.
fn client_options(environment: &Environment, prefix: &str) -> ClientOptions {
    let named = environment.beginning(&prefix.to_ascii_uppercase());
    let known = named.into_iter().filter_map(|(name, value)| {
        Some((name.strip_prefix(prefix)?.parse::<ClientConfigKey>().ok()?, value))
    });
    known.fold(options(), |options, (key, value)| options.with_config(key, value))
}
