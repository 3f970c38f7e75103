//! Finding and loading checkpoints: damage is named, and the one before is used.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_train::checkpoint::{
    self, CheckpointError, CheckpointWriter, Which, find, load, load_latest_valid, verify,
};
use serde_json::json;

const FILES: [&str; 5] = [
    "config.json",
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
    "tokenizer/tokenizer.json",
];

fn save(run: &Path, step: u64) -> PathBuf {
    let mut writer = CheckpointWriter::create(run, step).unwrap();
    for name in FILES {
        writer.json(name, &json!({"file": name, "step": step})).unwrap();
    }
    writer.commit().unwrap()
}

fn flip_bit(path: &Path, bit: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path, size: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(size).unwrap();
}

/// Damages a new checkpoint and returns what is found, which must name `file`.
fn damaged(file: &str, damage: impl FnOnce(&Path)) -> CheckpointError {
    let run = tempfile::tempdir().unwrap();
    let dir = save(run.path(), 100);
    verify(&dir).unwrap();
    damage(&dir.join(file));
    let error = verify(&dir).unwrap_err();
    let path = dir.join(file).display().to_string();
    assert!(error.to_string().contains(&path), "{error} should name {path}");
    error
}

#[test]
fn a_flipped_bit_in_any_file_is_named() {
    for file in FILES {
        for bit in [0, 77, 8 * 30 + 7] {
            let error = damaged(file, |path| flip_bit(path, bit));
            assert!(matches!(error, CheckpointError::Hash { .. }), "{error}");
        }
    }
    let error = damaged("MANIFEST", |path| flip_bit(path, 8 * 70));
    assert!(matches!(error, CheckpointError::ManifestDamaged { .. }), "{error}");
}

#[test]
fn a_truncated_or_longer_file_is_named_with_its_sizes() {
    for file in FILES {
        for size in [0, 1] {
            let error = damaged(file, |path| truncate(path, size));
            let CheckpointError::Size { found, expected, .. } = error else { panic!("{error}") };
            assert!(found == size && expected > 1);
            assert!(error.to_string().contains("truncated"), "{error}");
        }
        let error = damaged(file, |path| truncate(path, 1000));
        assert!(error.to_string().contains("too long"), "{error}");
    }
    let error = damaged("MANIFEST", |path| truncate(path, 100));
    assert!(matches!(error, CheckpointError::ManifestDamaged { .. }), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    for file in FILES {
        let error = damaged(file, |path| fs::remove_file(path).unwrap());
        assert!(matches!(error, CheckpointError::FileMissing { .. }), "{error}");
        let error = damaged(file, |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        });
        assert!(matches!(error, CheckpointError::FileMissing { .. }), "{error}");
    }
    let error = damaged("MANIFEST", |path| fs::remove_file(path).unwrap());
    assert!(matches!(error, CheckpointError::ManifestMissing { .. }), "{error}");
}

#[test]
fn a_list_of_files_made_by_hand_cannot_lead_outside() {
    let outside = format!("{} 0 ../latest\n", blake3::hash(b""));
    let list =
        format!("{outside}{} {} MANIFEST\n", blake3::hash(outside.as_bytes()), outside.len());
    let error = damaged("MANIFEST", |path| fs::write(path, list).unwrap());
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[test]
fn a_file_that_someone_added_does_no_harm() {
    let run = tempfile::tempdir().unwrap();
    let dir = save(run.path(), 100);
    fs::write(dir.join("notes.txt"), "best so far").unwrap();
    verify(&dir).unwrap();
    let loaded = load(run.path()).unwrap();
    assert_eq!(loaded.checkpoint.files(), FILES);
}

#[test]
fn the_checkpoint_before_a_damaged_one_is_used() {
    let run = tempfile::tempdir().unwrap();
    for step in [10, 20, 30, 40] {
        save(run.path(), step);
    }
    flip_bit(&run.path().join("step-000040/model.safetensors"), 5);
    fs::remove_file(run.path().join("step-000030/MANIFEST")).unwrap();
    let loaded = load_latest_valid(run.path()).unwrap();
    assert_eq!(loaded.checkpoint.step(), Some(20));
    let passed_over: Vec<_> = loaded.damaged.iter().map(|one| one.path.clone()).collect();
    assert_eq!(passed_over, [run.path().join("step-000040"), run.path().join("step-000030")]);
    assert!(matches!(loaded.damaged[0].error, CheckpointError::Hash { .. }));
    assert!(matches!(loaded.damaged[1].error, CheckpointError::ManifestMissing { .. }));

    // Who asks for a damaged one by name gets no other.
    let error = load(&run.path().join("step-40")).unwrap_err();
    assert!(matches!(error, CheckpointError::Hash { .. }), "{error}");
}

#[test]
fn all_damaged_ones_are_listed() {
    let run = tempfile::tempdir().unwrap();
    for step in [1, 2, 3] {
        truncate(&save(run.path(), step).join("state.json"), step);
    }
    let error = load(run.path()).unwrap_err();
    let CheckpointError::NoneValid { damaged, .. } = &error else { panic!("{error}") };
    assert_eq!(damaged.len(), 3);
    for name in ["step-000003/state.json", "step-000002/state.json", "step-000001/state.json"] {
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_damaged_latest_is_reported_and_the_highest_step_used() {
    let run = tempfile::tempdir().unwrap();
    save(run.path(), 999_999);
    save(run.path(), 1_000_000);
    save(run.path(), 5);
    for content in [&b""[..], b"step", b"\xff\xfe", b"../step-000005"] {
        fs::write(run.path().join("latest"), content).unwrap();
        let loaded = load(run.path()).unwrap();
        assert_eq!(loaded.checkpoint.step(), Some(1_000_000));
        assert!(matches!(loaded.damaged[0].error, CheckpointError::LatestDamaged { .. }));
        assert_eq!(find(run.path(), Which::Latest).unwrap(), run.path().join("step-1000000"));
    }
    fs::remove_file(run.path().join("latest")).unwrap();
    let loaded = load(run.path()).unwrap();
    assert_eq!((loaded.checkpoint.step(), loaded.damaged.len()), (Some(1_000_000), 0));
    // It names one that is gone: those before it come first.
    fs::write(run.path().join("latest"), "step-000007\n").unwrap();
    let loaded = load(run.path()).unwrap();
    assert_eq!(loaded.checkpoint.step(), Some(5));
    assert_eq!(loaded.damaged[0].path, run.path().join("step-000007"));
}

#[test]
fn runs_and_checkpoints_are_found_as_users_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    for step in [20, 100] {
        save(&run, step);
    }
    let hundred = run.join("step-000100");
    assert_eq!(find(&run, Which::Latest).unwrap(), hundred);
    assert_eq!(find(&run, Which::Step(20)).unwrap(), run.join("step-000020"));
    for name in ["step-000100", "step-100", "step-0100", "step-100/"] {
        assert_eq!(find(&run.join(name), Which::Latest).unwrap(), hundred, "{name}");
        assert_eq!(find(&run.join(name), Which::Step(100)).unwrap(), hundred, "{name}");
        assert_eq!(load(&run.join(name)).unwrap().checkpoint.step(), Some(100), "{name}");
    }
    let copied = folder.path().join("best");
    fs::rename(run.join("step-000020"), &copied).unwrap();
    let loaded = load(&copied).unwrap();
    assert_eq!((loaded.checkpoint.dir(), loaded.checkpoint.step()), (copied.as_path(), None));

    for error in [
        find(&run, Which::Step(7)).unwrap_err(),
        find(&run.join("step-7"), Which::Latest).unwrap_err(),
        load(&run.join("step-7")).unwrap_err(),
    ] {
        let CheckpointError::NoStep { step, have, .. } = &error else { panic!("{error}") };
        assert_eq!((*step, have.as_slice()), (7, &[100][..]));
    }
    let error = find(&hundred, Which::Step(7)).unwrap_err();
    assert!(matches!(error, CheckpointError::NoStep { .. }), "{error}");
}

#[test]
fn nothing_there_is_said_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    for path in [missing.as_path(), &missing.join("step-1")] {
        assert!(matches!(load(path), Err(CheckpointError::NotFound { .. })));
        assert!(matches!(find(path, Which::Latest), Err(CheckpointError::NotFound { .. })));
        assert!(matches!(verify(path), Err(CheckpointError::NotFound { .. })));
    }
    assert!(matches!(load(folder.path()), Err(CheckpointError::NoCheckpoint { .. })));
    assert!(checkpoint::list(&missing).unwrap().is_empty());
    assert_eq!(checkpoint::latest(&missing).unwrap(), None);
    // Not a folder at all.
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(load(&file).unwrap_err().to_string().contains("file"));
    // Folders and files beside checkpoints are not taken for one.
    fs::create_dir(folder.path().join("step-x")).unwrap();
    fs::write(folder.path().join("step-000003"), "").unwrap();
    assert!(checkpoint::list(folder.path()).unwrap().is_empty());
}
