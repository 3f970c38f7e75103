//! A connection that can be cut: bytes pass from a port of its own to another one, until it is told otherwise.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;

/// What happens to the bytes.
#[derive(Default)]
pub struct Plan {
    /// So many connections are cut, one after another.
    pub cuts: AtomicI64,
    /// Each after so many bytes in one direction.
    pub after: AtomicU64,
    /// No connection is accepted any more.
    pub dead: AtomicBool,
    /// Cuts that were made.
    pub made: AtomicU64,
}

/// Starts passing bytes on to a port; returns the port to connect to, and what governs it.
pub fn start(to: u16) -> (u16, Arc<Plan>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let plan = Arc::new(Plan::default());
    let governs = plan.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { continue };
            if governs.dead.load(Ordering::SeqCst) {
                continue; // closes it
            }
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            let (client2, server2) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (up, down) = (governs.clone(), governs.clone());
            thread::spawn(move || pass(client, server, &up));
            thread::spawn(move || pass(server2, client2, &down));
        }
    });
    (port, plan)
}

fn pass(mut from: TcpStream, mut to: TcpStream, plan: &Plan) {
    let mut buffer = [0; 1 << 16];
    let mut passed = 0;
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        passed += n as u64;
        let due = passed > plan.after.load(Ordering::SeqCst);
        let cut = due && plan.cuts.fetch_sub(1, Ordering::SeqCst) > 0;
        if cut {
            plan.made.fetch_add(1, Ordering::SeqCst);
        }
        if cut || plan.dead.load(Ordering::SeqCst) || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
