//! The threads that wait for the network: started with the first request, never where everything is local.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// Requests spend their time waiting; what they compute (TLS, checksums) must not take cores from training.
const THREADS: usize = 2;

/// Waits for what a future gives. Several threads may do so at once.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("kiln-store").enable_all();
        builder.build().expect("a process that can start threads has a runtime")
    })
}

/// Chooses one of the two libraries that TLS can be done with: clients cannot be made before.
pub(crate) fn choose_cryptography() {
    // An error says that somebody has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
