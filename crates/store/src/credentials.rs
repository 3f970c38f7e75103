//! Whether there are credentials at all. Without, the stores' clients ask the cloud machine that they believe to run on,
//! and elsewhere than on one they wait for minutes before they say so.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::environment::Environment;
use crate::location::Scheme;

/// Where machines of all three clouds answer questions about themselves.
const METADATA_ADDRESS: &str = "169.254.169.254:80";
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether requests to this kind of store can be signed, or need not be.
pub(crate) fn are_there(scheme: Scheme, environment: &Environment) -> bool {
    match scheme {
        Scheme::S3 => s3(environment),
        Scheme::Gs => gs(environment),
        Scheme::Az => az(environment),
        Scheme::Http | Scheme::Https => true,
    }
}

fn s3(environment: &Environment) -> bool {
    let named = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    if named.iter().any(|name| environment.is_set(name))
        || environment.is_true("AWS_SKIP_SIGNATURE")
    {
        return true;
    }
    let endpoint = environment.get("AWS_METADATA_ENDPOINT");
    !environment.is_true("AWS_EC2_METADATA_DISABLED") && answers(endpoint.as_deref())
}

fn gs(environment: &Environment) -> bool {
    let named = [
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_BEARER_TOKEN",
        "SERVICE_ACCOUNT",
    ];
    let file = || {
        Some(environment.path("HOME")?.join(".config/gcloud/application_default_credentials.json"))
    };
    named.iter().any(|name| environment.is_set(name))
        || environment.is_true("GOOGLE_SKIP_SIGNATURE")
        || file().is_some_and(|file| file.exists())
        || answers(None)
}

fn az(environment: &Environment) -> bool {
    let named = [
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_MASTER_KEY",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_TOKEN",
        "AZURE_STORAGE_CLIENT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_MSI_ENDPOINT",
        "AZURE_IDENTITY_ENDPOINT",
        "IDENTITY_ENDPOINT",
        "AZURE_FEDERATED_TOKEN_FILE",
    ];
    let switched = ["AZURE_SKIP_SIGNATURE", "AZURE_STORAGE_USE_EMULATOR", "AZURE_USE_AZURE_CLI"];
    named.iter().any(|name| environment.is_set(name))
        || switched.iter().any(|name| environment.is_true(name))
        || answers(None)
}

/// Whether somebody listens where a cloud machine's description is to be had.
fn answers(endpoint: Option<&str>) -> bool {
    let address = endpoint.map_or(METADATA_ADDRESS.to_owned(), |endpoint| {
        let host = endpoint.split("://").last().unwrap_or_default();
        let host = host.split('/').next().unwrap_or_default();
        if host.contains(':') { host.to_owned() } else { format!("{host}:80") }
    });
    let resolved: Option<SocketAddr> =
        address.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    resolved.is_some_and(|to| TcpStream::connect_timeout(&to, METADATA_TIMEOUT).is_ok())
}
