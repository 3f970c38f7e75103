//! Inputs and outputs of commands, on a store in memory and on this machine.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::at;
use kiln_store::{Cause, Earlier, Inputs, Kind, Output, Store, StoreError};

fn memory() -> Arc<Store> {
    Arc::new(Store::in_memory(&["s3://b"]))
}

fn names(store: &Store, folder: &str) -> Vec<String> {
    store.list(&at(folder)).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn local_paths_are_handed_on_as_they_are() {
    let mut inputs = Inputs::new(memory());
    let mut local =
        |path: &str| inputs.local(path.as_ref(), &mut |_, _| panic!("nothing is fetched"));
    assert_eq!(local("no/such/file").unwrap(), Path::new("no/such/file"));
    assert_eq!(local("file:///a%20b").unwrap(), Path::new("/a b"));
    let mut out = Output::folder(memory(), "some/folder".as_ref(), Earlier::Names).unwrap();
    assert_eq!(out.path(), Path::new("some/folder"));
    out.publish(&mut |_| panic!("nothing is published")).unwrap();
}

#[test]
fn inputs_keep_their_names() {
    let store = memory();
    store.put(b"{}", &at("s3://b/data/docs.jsonl")).unwrap();
    store.put(b"int a;", &at("s3://b/src/leveldb/db/a.cc")).unwrap();
    store.put(b"x", &at("s3://b/src/leveldb/.git/x")).unwrap();
    // As some programs mark folders.
    store.put(b"", &at("s3://b/src/leveldb/db")).unwrap();
    let mut inputs = Inputs::new(store);
    let mut seen = Vec::new();
    let file = inputs
        .local("s3://b/data/docs.jsonl".as_ref(), &mut |url, p| {
            seen.push((url.to_owned(), p.files))
        })
        .unwrap();
    assert_eq!(seen, [("s3://b/data/docs.jsonl".to_owned(), 1)]);
    assert!(file.ends_with("docs.jsonl") && fs::read(&file).unwrap() == b"{}");
    let wanted = |name: &str| !name.starts_with(".git/");
    let tree = inputs.local_part("s3://b/src/leveldb/".as_ref(), &wanted, &mut |_, _| {}).unwrap();
    assert!(tree.ends_with("leveldb"), "{}", tree.display());
    assert_eq!(fs::read(tree.join("db/a.cc")).unwrap(), b"int a;");
    assert_eq!(fs::read_dir(&tree).unwrap().count(), 1);
    let whole = inputs.local("s3://b".as_ref(), &mut |_, _| {}).unwrap();
    assert!(whole.ends_with("b") && whole.join("src/leveldb/.git/x").is_file());
    let error = inputs.local("s3://b/none".as_ref(), &mut |_, _| {}).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NotFound), "{error}");
    assert!(
        kiln_store::with_urls(&format!("{}: bad", file.display()))
            .starts_with("s3://b/data/docs.jsonl: ")
    );
    drop(inputs);
    assert!(!file.exists() && !tree.exists());
}

/// Writes what a command would.
fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        fs::write(path, content).unwrap();
    }
}

#[test]
fn a_folder_appears_when_it_is_published() {
    let store = memory();
    let open = || Output::folder(store.clone(), "s3://b/docs/".as_ref(), Earlier::Names).unwrap();
    let mut out = open();
    assert!(!out.path().exists() && out.path().ends_with("docs"));
    write(out.path(), &[("train-0.jsonl", "0"), ("train-1.jsonl", "1"), ("_COMPLETE", "{}")]);
    assert!(names(&store, "s3://b/docs").is_empty());
    out.publish(&mut |_| {}).unwrap();
    assert_eq!(names(&store, "s3://b/docs"), ["_COMPLETE", "train-0.jsonl", "train-1.jsonl"]);

    // Given up, it changes nothing.
    let out = open();
    write(out.path(), &[("train-0.jsonl", "other")]);
    drop(out);
    assert_eq!(store.read(&at("s3://b/docs/train-0.jsonl")).unwrap().unwrap(), b"0");

    // What completes the earlier one can be read, of the rest the names are seen; what goes here goes there.
    let mut out = open();
    assert_eq!(fs::read(out.path().join("_COMPLETE")).unwrap(), b"{}");
    assert_eq!(fs::metadata(out.path().join("train-1.jsonl")).unwrap().len(), 0);
    fs::remove_file(out.path().join("train-1.jsonl")).unwrap();
    write(out.path(), &[("train-0.jsonl", "new"), ("_COMPLETE", "{2}")]);
    out.publish(&mut |_| {}).unwrap();
    assert_eq!(names(&store, "s3://b/docs"), ["_COMPLETE", "train-0.jsonl"]);
    assert_eq!(store.read(&at("s3://b/docs/train-0.jsonl")).unwrap().unwrap(), b"new");
    assert_eq!(store.read(&at("s3://b/docs/_COMPLETE")).unwrap().unwrap(), b"{2}");

    // What is not touched stays.
    let mut out = open();
    write(out.path(), &[("train-1.jsonl", "1")]);
    out.publish(&mut |_| {}).unwrap();
    assert_eq!(store.read(&at("s3://b/docs/train-0.jsonl")).unwrap().unwrap(), b"new");
    assert_eq!(names(&store, "s3://b/docs").len(), 3);
}

#[test]
fn a_folder_can_be_added_to() {
    let store = memory();
    store.put(b"old\n", &at("s3://b/docs/a.jsonl")).unwrap();
    let mut out = Output::folder(store.clone(), "s3://b/docs".as_ref(), Earlier::Content).unwrap();
    let path = out.path().join("a.jsonl");
    let old = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{old}new\n")).unwrap();
    out.publish(&mut |_| {}).unwrap();
    assert_eq!(store.read(&at("s3://b/docs/a.jsonl")).unwrap().unwrap(), b"old\nnew\n");
}

#[test]
fn files_are_published_too() {
    let store = memory();
    let mut out = Output::file(store.clone(), "s3://b/graph.dot".as_ref()).unwrap();
    fs::write(out.path(), "digraph {}").unwrap();
    out.publish(&mut |_| {}).unwrap();
    assert_eq!(store.read(&at("s3://b/graph.dot")).unwrap().unwrap(), b"digraph {}");
}

#[test]
fn what_cannot_be_published_is_kept() {
    let store = memory();
    let mut out = Output::folder(store, "s3://b/docs".as_ref(), Earlier::Names).unwrap();
    write(out.path(), &[("a.jsonl", "precious"), ("bad\nname", "x"), ("_COMPLETE", "{}")]);
    let error = out.publish(&mut |_| {}).unwrap_err();
    let StoreError::Kept { path, source } = &error else { panic!("{error}") };
    assert!(matches!(**source, StoreError::Name { .. }), "{error}");
    assert_eq!(fs::read_to_string(path.join("a.jsonl")).unwrap(), "precious");
    assert!(kiln_store::with_urls(&error.to_string()).contains(&path.display().to_string()));
    assert!(error.hint().unwrap().contains("kiln copy"));
    fs::remove_dir_all(path.parent().unwrap().parent().unwrap()).unwrap();
}

#[test]
fn local_folders_are_stores_as_well() {
    let store = Store::new();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/with%20space", folder.path().display());
    let here = at(&url);
    assert_eq!((store.kind(&here).unwrap(), store.list(&here).unwrap().len()), (None, 0));
    store.put(b"x", &here.join("a/b c.txt")).unwrap();
    store.put_file(&folder.path().join("with space/a/b c.txt"), &here.join("d")).unwrap();
    let found: Vec<_> = store.list(&here).unwrap().into_iter().map(|e| (e.name, e.size)).collect();
    assert_eq!(found, [("a/b c.txt".to_owned(), Some(1)), ("d".to_owned(), Some(1))]);
    assert_eq!(store.kind(&here).unwrap(), Some(Kind::Folder));
    assert_eq!(store.size(&here.join("d")).unwrap(), Some(1));
    assert_eq!(store.fetch(&here.join("d"), &folder.path().join("e")).unwrap(), 1);
    store.delete(&[here.join("d"), here.join("d")]).unwrap();
    assert_eq!(store.read(&here.join("d")).unwrap(), None);
}
