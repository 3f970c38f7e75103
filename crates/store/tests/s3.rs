//! Against a real S3-compatible server on this machine.

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::moto::Moto;
use common::{HASTY, at, noise, proxy, s3_at};
use kiln_store::{Cause, Kind, PART_BYTES, Patience, Store, StoreError};

/// A server with a bucket, and a store that knows it.
fn server() -> Option<(Moto, Store)> {
    let moto = Moto::start()?;
    moto.make_bucket("bucket");
    let store = s3_at(&moto.endpoint(), Patience::default());
    Some((moto, store))
}

#[test]
fn objects_are_written_found_read_and_deleted() {
    let Some((_moto, store)) = server() else { return };
    let folder = at("s3://bucket/some/folder");
    assert_eq!((store.kind(&folder).unwrap(), store.list(&folder).unwrap()), (None, vec![]));
    let names = ["a.txt", "deep/er/b", "sp ace/%20+#?&ü.cc", "z~[1]{2}"];
    for name in names {
        store.put(name.as_bytes(), &folder.join(name)).unwrap();
    }
    // Another folder whose name begins alike.
    store.put(b"x", &at("s3://bucket/some/folder-2/x")).unwrap();
    let found: Vec<String> = store.list(&folder).unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(found, names);
    for name in names {
        let at = folder.join(name);
        assert_eq!(store.read(&at).unwrap().as_deref(), Some(name.as_bytes()));
        assert_eq!(store.size(&at).unwrap(), Some(name.len() as u64));
        assert_eq!(store.kind(&at).unwrap(), Some(Kind::File));
    }
    assert_eq!(store.kind(&folder.join("deep")).unwrap(), Some(Kind::Folder));
    let before = store.list(&folder).unwrap()[0].version.clone();
    store.put(b"changed", &folder.join("a.txt")).unwrap();
    assert_ne!(store.list(&folder).unwrap()[0].version, before);
    store.delete(&[folder.join("a.txt"), folder.join("a.txt"), folder.join("never")]).unwrap();
    assert_eq!(store.read(&folder.join("a.txt")).unwrap(), None);
    assert_eq!(store.list(&folder).unwrap().len(), 3);
}

#[test]
fn large_files_go_in_parts_and_come_back_whole() {
    let Some((_moto, store)) = server() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("new/to"));
    for size in [0, 1, PART_BYTES as usize, PART_BYTES as usize + 1, 5 * PART_BYTES as usize + 7] {
        let content = noise(size, 3);
        fs::write(&from, &content).unwrap();
        let at = at("s3://bucket/large");
        assert_eq!(store.put_file(&from, &at).unwrap(), size as u64);
        assert_eq!(store.fetch(&at, &to).unwrap(), size as u64);
        assert!(fs::read(&to).unwrap() == content, "{size}");
        // In parts, the ETag says how many.
        let version = store.list(&common::at("s3://bucket")).unwrap()[0].version.clone().unwrap();
        assert_eq!(version.contains('-'), size as u64 > PART_BYTES, "{version}");
    }
    assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1, "nothing is left over");
}

#[test]
fn listings_of_many_pages_are_whole() {
    let Some((_moto, store)) = server() else { return };
    let local = tempfile::tempdir().unwrap();
    let mut names: Vec<String> = (0..1100).map(|n| format!("f{:02}/{n:04}.txt", n % 20)).collect();
    names.sort();
    for name in &names {
        let path = local.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let at = at("s3://bucket/many");
    let mut told = 0;
    store.put_tree(local.path(), &names, &at, &mut |progress| told = progress.files).unwrap();
    assert_eq!(told, 1100);
    let found: Vec<String> = store.list(&at).unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(found, names);
    let back = tempfile::tempdir().unwrap();
    let wanted = |name: &str| name.starts_with("f07/");
    let fetched = store.fetch_tree(&at, back.path(), &wanted, &mut |_| {}).unwrap();
    assert_eq!(fetched.len(), 55);
    for entry in fetched {
        assert_eq!(fs::read_to_string(back.path().join(&entry.name)).unwrap(), entry.name);
    }
}

#[test]
fn a_missing_bucket_is_named() {
    let Some((_moto, store)) = server() else { return };
    let missing = at("s3://no-such-bucket/x");
    let local = tempfile::tempdir().unwrap();
    let errors = [
        store.list(&missing).unwrap_err(),
        store.kind(&missing).unwrap_err(),
        store.read(&missing).unwrap_err(),
        store.fetch(&missing, &local.path().join("x")).unwrap_err(),
        store.put(b"x", &missing).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.cause(), Some(Cause::NoBucket), "{error}");
        assert!(error.to_string().contains("s3://no-such-bucket/x"), "{error}");
        assert!(error.to_string().contains("The specified bucket does not exist"), "{error}");
        assert!(error.hint().unwrap().contains("make the bucket"));
    }
    let error = store.fetch(&at("s3://bucket/gone"), &local.path().join("x")).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NotFound), "{error}");
    assert_eq!(fs::read_dir(local.path()).unwrap().count(), 0, "nothing is left over");
}

#[test]
fn wrong_credentials_are_told() {
    // From the second request on the server checks who asks.
    let Some(moto) = Moto::start_with(&[("INITIAL_NO_AUTH_ACTION_COUNT", "1")]) else { return };
    moto.make_bucket("bucket");
    let store = s3_at(&moto.endpoint(), Patience::default());
    for error in [
        store.put(b"x", &at("s3://bucket/x")).unwrap_err(),
        store.list(&at("s3://bucket")).unwrap_err(),
    ] {
        assert_eq!(error.cause(), Some(Cause::Denied), "{error}");
        assert!(error.to_string().contains("(InvalidAccessKeyId)"), "{error}");
        assert!(error.hint().unwrap().contains("AWS_SECRET_ACCESS_KEY"));
    }
}

#[test]
fn missing_credentials_are_told_at_once() {
    let variables =
        [("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_EC2_METADATA_DISABLED", "true")];
    let store = Store::with_variables(&variables, Patience::default());
    let error = store.list(&at("s3://bucket")).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NoCredentials), "{error}");
    assert_eq!(error.to_string(), "cannot open s3://bucket/: no credentials found");
}

#[test]
fn an_address_where_nobody_answers_is_told() {
    let store = s3_at("http://127.0.0.1:9", HASTY);
    let error = store.read(&at("s3://bucket/x")).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Unreachable), "{error}");
    assert!(error.to_string().contains("cannot read s3://bucket/x: Connection refused"), "{error}");
    assert!(error.hint().unwrap().contains("AWS_ENDPOINT_URL"));
}

#[test]
fn cut_connections_are_taken_up_again() {
    let Some(moto) = Moto::start() else { return };
    moto.make_bucket("bucket");
    let (port, plan) = proxy::start(moto.port());
    let store = s3_at(&format!("http://127.0.0.1:{port}"), Patience::default());
    let folder = tempfile::tempdir().unwrap();
    let content = noise(3 * PART_BYTES as usize + 11, 5);
    fs::write(folder.path().join("from"), &content).unwrap();
    let at = at("s3://bucket/x");
    // Cut while parts go up, then while the object comes down.
    for cuts in [3, 4] {
        plan.after.store(1 << 20, Ordering::SeqCst);
        plan.cuts.store(cuts, Ordering::SeqCst);
        if cuts == 3 {
            store.put_file(&folder.path().join("from"), &at).unwrap();
        } else {
            store.fetch(&at, &folder.path().join("to")).unwrap();
        }
        plan.after.store(u64::MAX, Ordering::SeqCst);
    }
    assert_eq!(plan.made.load(Ordering::SeqCst), 7);
    assert!(fs::read(folder.path().join("to")).unwrap() == content);
}

#[test]
fn a_server_that_dies_in_mid_transfer_leaves_nothing_half() {
    let Some(mut moto) = Moto::start() else { return };
    moto.make_bucket("bucket");
    let (port, plan) = proxy::start(moto.port());
    let patience = Patience { first: Duration::from_millis(100), later: Duration::from_secs(2) };
    let store = s3_at(&format!("http://127.0.0.1:{port}"), patience);
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("down/to"));
    fs::write(&from, noise(4 * PART_BYTES as usize, 9)).unwrap();
    store.put_file(&from, &at("s3://bucket/whole")).unwrap();
    // The server goes with the first connection that is cut.
    plan.after.store(1 << 20, Ordering::SeqCst);
    plan.cuts.store(1, Ordering::SeqCst);
    let watched = plan.clone();
    let killer = std::thread::spawn(move || {
        while watched.made.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        watched.dead.store(true, Ordering::SeqCst);
        moto.kill();
    });
    let error = store.fetch(&at("s3://bucket/whole"), &to).unwrap_err();
    killer.join().unwrap();
    assert_eq!(error.cause(), Some(Cause::Unreachable), "{error}");
    assert!(error.to_string().contains("cannot read s3://bucket/whole"), "{error}");
    assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 0, "nothing half is left");
    let error = store.put_file(&from, &at("s3://bucket/other")).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Unreachable), "{error}");
    assert!(error.to_string().contains("cannot write s3://bucket/other"), "{error}");
}

#[test]
fn many_threads_may_use_one_store() {
    let Some((_moto, store)) = server() else { return };
    let store = Arc::new(store);
    std::thread::scope(|scope| {
        for n in 0..6 {
            let store = store.clone();
            scope.spawn(move || {
                let at = at(&format!("s3://bucket/t{n}"));
                store.put(&[n], &at).unwrap();
                assert_eq!(store.read(&at).unwrap(), Some(vec![n]));
            });
        }
    });
    assert_eq!(store.list(&at("s3://bucket")).unwrap().len(), 6);
}

#[test]
fn nothing_is_said_of_secrets() {
    let store = s3_at("http://127.0.0.1:9", HASTY);
    let error: StoreError =
        store.read(&at("http://me:secret@127.0.0.1:9/x?sig=secret")).unwrap_err();
    let told = format!("{error} {error:?} {:?}", error.hint());
    assert!(!told.contains("secret"), "{told}");
}
