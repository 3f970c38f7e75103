//! Reading from web servers, and from the other clouds' interfaces as a small server speaks them.

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::web::Web;
use common::{HASTY, at, noise};
use kiln_store::{Cause, Inputs, Kind, Patience, Store};

fn store() -> Store {
    Store::with_variables(&[], Patience::default())
}

#[test]
fn files_are_read_by_their_encoded_names() {
    let web = Web::start();
    let content = noise(100_000, 1);
    web.put("/a%20b/c+d.jsonl", &content);
    let folder = tempfile::tempdir().unwrap();
    for path in ["/a%20b/c%2Bd.jsonl", "/a b/c+d.jsonl?sig=1%2F2"] {
        let to = folder.path().join("to");
        let from = at(&web.url(path));
        assert_eq!(store().kind(&from).unwrap(), Some(Kind::File), "{path}");
        assert_eq!(store().fetch(&from, &to).unwrap(), 100_000);
        assert!(fs::read(&to).unwrap() == content);
    }
    let last = web.requests().pop().unwrap();
    assert!(last.target.ends_with("?sig=1%2F2"), "{}", last.target);
    assert_eq!(store().read(&at(&web.url("/none"))).unwrap(), None);
}

#[test]
fn urls_that_were_signed_for_reading_are_read() {
    let web = Web::start();
    web.put("/signed", b"there");
    web.state.get_only.store(true, Ordering::SeqCst);
    let mut inputs = Inputs::new(Arc::new(store()));
    let url = web.url("/signed?X-Amz-Signature=1");
    let local = inputs.local(url.as_ref(), &mut |_, _| {}).unwrap();
    assert_eq!(fs::read(local).unwrap(), b"there");
}

#[test]
fn what_was_cut_goes_on_where_it_stopped() {
    let web = Web::start();
    let content = noise(3 << 20, 2);
    web.put("/x", &content);
    let folder = tempfile::tempdir().unwrap();
    for no_ranges in [false, true] {
        web.state.no_ranges.store(no_ranges, Ordering::SeqCst);
        web.state.half_answers.store(if no_ranges { 1 } else { 2 }, Ordering::SeqCst);
        let to = folder.path().join("to");
        assert_eq!(store().fetch(&at(&web.url("/x")), &to).unwrap(), 3 << 20);
        assert!(fs::read(&to).unwrap() == content, "{no_ranges}");
    }
    let ranged = web.requests().iter().filter(|r| r.headers.contains_key("range")).count();
    assert!(ranged >= 2, "{ranged}");
}

#[test]
fn a_busy_server_is_asked_again() {
    let web = Web::start();
    web.put("/x", b"there");
    web.state.busy.store(2, Ordering::SeqCst);
    assert_eq!(store().read(&at(&web.url("/x"))).unwrap().as_deref(), Some(&b"there"[..]));
    web.state.busy.store(i64::MAX, Ordering::SeqCst);
    let error = Store::with_variables(&[], HASTY).read(&at(&web.url("/x"))).unwrap_err();
    assert!(error.to_string().ends_with("the server answered with status 503"), "{error}");
}

#[test]
fn folders_are_read_by_the_lists_that_lie_in_them() {
    let web = Web::start();
    web.put(
        "/docs/_COMPLETE",
        br#"{"files": [{"name": "a.jsonl"}, {"name": "b.jsonl.zst"}, {"name": "../x"}]}"#,
    );
    web.put("/docs/a.jsonl", b"A");
    web.put("/docs/b.jsonl.zst", b"B");
    web.put("/run/latest", b"step-000010\n");
    web.put("/run/step-000010/MANIFEST", b"00 1 sub/model\n00 7 MANIFEST\n");
    web.put("/run/step-000010/sub/model", b"M");
    web.put("/tok/tokenizer.json", b"{}");
    web.put("/tok/token_bytes.json", b"[]");
    let mut inputs = Inputs::new(Arc::new(store()));
    let mut local = |path: &str| {
        inputs
            .local(web.url(path).as_ref(), &mut |_, _| {})
            .unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let docs = local("/docs");
    assert!(docs.ends_with("docs"), "{}", docs.display());
    assert_eq!(fs::read(docs.join("a.jsonl")).unwrap(), b"A");
    assert_eq!(fs::read_dir(&docs).unwrap().count(), 3);
    let run = local("/run/");
    assert_eq!(fs::read(run.join("step-000010/sub/model")).unwrap(), b"M");
    assert_eq!(fs::read_to_string(run.join("latest")).unwrap(), "step-000010\n");
    assert_eq!(fs::read_dir(local("/tok/")).unwrap().count(), 2);
}

#[test]
fn a_folder_that_nobody_lists_is_named() {
    let web = Web::start();
    let url = web.url("/src/");
    for status in ["405 Method Not Allowed", "501 Unsupported method", "404 Not Found"] {
        *web.state.unknown_method.lock().unwrap() = status.to_owned();
        let error = store().list(&at(&url)).unwrap_err();
        assert_eq!(error.cause(), Some(Cause::NoListing), "{status}: {error}");
    }
    let error = store().list(&at(&url)).unwrap_err();
    assert!(error.to_string().contains(&url), "{error}");
    assert!(error.hint().unwrap().contains("single files"));
    let error = Inputs::new(Arc::new(store())).local(url.as_ref(), &mut |_, _| {}).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NoListing), "{error}");
}

#[test]
fn web_servers_are_only_read() {
    let web = Web::start();
    web.put("/x", b"there");
    let x = at(&web.url("/x"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    fs::write(&file, "x").unwrap();
    for error in [
        store().put(b"y", &x).unwrap_err(),
        store().put_file(&file, &x).unwrap_err(),
        store().delete(std::slice::from_ref(&x)).unwrap_err(),
    ] {
        assert_eq!(error.cause(), Some(Cause::ReadOnly), "{error}");
    }
    assert_eq!((web.file("/x").as_deref(), web.requests().len()), (Some(&b"there"[..]), 0));
}

/// Writes, lists, reads and deletes through a store of which `prefix` is a folder.
fn round_trip(store: &Store, prefix: &str) {
    let folder = at(prefix);
    let local = tempfile::tempdir().unwrap();
    let content = noise(300_000, 4);
    fs::write(local.path().join("from"), &content).unwrap();
    store.put_file(&local.path().join("from"), &folder.join("in/x.bin")).unwrap();
    store.put(b"small", &folder.join("y")).unwrap();
    let found: Vec<_> =
        store.list(&folder).unwrap().into_iter().map(|e| (e.name, e.size)).collect();
    assert_eq!(found, [("in/x.bin".to_owned(), Some(300_000)), ("y".to_owned(), Some(5))]);
    store.fetch(&folder.join("in/x.bin"), &local.path().join("to")).unwrap();
    assert!(fs::read(local.path().join("to")).unwrap() == content);
    store.delete(&[folder.join("in/x.bin")]).unwrap();
    assert_eq!(store.size(&folder.join("in/x.bin")).unwrap(), None);
}

#[test]
fn googles_store_is_spoken_to() {
    let web = Web::start();
    let base = web.url("");
    let key =
        r#"{"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": true}"#;
    let variables = [("GOOGLE_BASE_URL", base.as_str()), ("GOOGLE_SERVICE_ACCOUNT_KEY", key)];
    round_trip(&Store::with_variables(&variables, Patience::default()), "gs://bucket/some/folder");
    assert_eq!(web.file("/bucket/some/folder/y").as_deref(), Some(&b"small"[..]));
}

#[test]
fn azures_store_is_spoken_to() {
    let web = Web::start();
    let endpoint = web.url("/account");
    let variables = [
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ENDPOINT", endpoint.as_str()),
        ("AZURE_SKIP_SIGNATURE", "true"),
    ];
    round_trip(&Store::with_variables(&variables, Patience::default()), "az://box/some/folder");
    assert_eq!(web.file("/account/box/some/folder/y").as_deref(), Some(&b"small"[..]));
}

#[test]
fn missing_settings_of_other_clouds_are_told() {
    let store = Store::with_variables(&[("AZURE_SKIP_SIGNATURE", "true")], HASTY);
    let error = store.list(&at("az://box")).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Settings), "{error}");
    assert!(error.hint().unwrap().contains("AZURE_STORAGE_ACCOUNT_NAME"), "{error}");
}
