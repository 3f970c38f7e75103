//! Saving checkpoints: what is on the disk after a save, a failed save, and a kill.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use kiln_model::TensorData;
use kiln_train::checkpoint::{
    self, CheckpointError, CheckpointWriter, Which, clean_leftovers, keep_last,
};
use serde_json::{Value, json};

fn save(run: &Path, step: u64, content: &str) -> PathBuf {
    let mut writer = CheckpointWriter::create(run, step).unwrap();
    writer.file("model.safetensors", |out| out.write_all(content.as_bytes())).unwrap();
    writer.json("state.json", &json!({ "step": step })).unwrap();
    writer.commit().unwrap()
}

/// All names in a folder, hidden ones too, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn model(run: &Path, step: u64) -> String {
    let dir = checkpoint::find(run, Which::Step(step)).unwrap();
    checkpoint::verify(&dir).unwrap();
    fs::read_to_string(dir.join("model.safetensors")).unwrap()
}

#[test]
fn a_checkpoint_holds_its_files_and_their_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("runs/a");
    let vocabulary = folder.path().join("vocabulary");
    fs::write(&vocabulary, "tokens").unwrap();
    let mut writer = CheckpointWriter::create(&run, 100).unwrap();
    // In pieces below and above what is gathered into one write.
    let model: Vec<u8> = (0..700_001_u32).map(|value| (value * 7) as u8).collect();
    writer
        .file("model.safetensors", |out| {
            out.write_all(&model[..3])?;
            out.write_all(&model[3..600_000])?;
            out.write_all(&model[600_000..])
        })
        .unwrap();
    writer.json("config.json", &json!({"depth": 6})).unwrap();
    writer.copy("tokenizer/tokenizer.json", &vocabulary).unwrap();
    writer.file("tokenizer/empty", |_| Ok(())).unwrap();
    assert!(names(&run).iter().all(|name| name.starts_with('.')), "seen before it is whole");
    let dir = writer.commit().unwrap();

    assert_eq!(dir, run.join("step-000100"));
    assert_eq!(names(&run), ["latest", "step-000100"]);
    assert_eq!(fs::read_to_string(run.join("latest")).unwrap(), "step-000100\n");
    assert_eq!(names(&dir), ["MANIFEST", "config.json", "model.safetensors", "tokenizer"]);
    let list = fs::read_to_string(dir.join("MANIFEST")).unwrap();
    let line =
        |bytes: &[u8], name: &str| format!("{} {} {name}\n", blake3::hash(bytes), bytes.len());
    let config = b"{\n  \"depth\": 6\n}\n";
    let lines = [
        line(config, "config.json"),
        line(&model, "model.safetensors"),
        line(b"", "tokenizer/empty"),
        line(b"tokens", "tokenizer/tokenizer.json"),
    ];
    assert!(list.starts_with(&lines.concat()), "{list}");
    assert_eq!(list.lines().count(), lines.len() + 1);

    let loaded = checkpoint::load(&run).unwrap();
    assert!(loaded.damaged.is_empty());
    let checkpoint = loaded.checkpoint;
    assert_eq!((checkpoint.dir(), checkpoint.step()), (dir.as_path(), Some(100)));
    assert_eq!(checkpoint.files().len(), lines.len());
    assert_eq!(checkpoint.json::<Value>("config.json").unwrap(), json!({"depth": 6}));
    assert_eq!(fs::read(checkpoint.path("model.safetensors")).unwrap(), model);
    let error = checkpoint.json::<Value>("tokenizer/tokenizer.json").unwrap_err();
    assert!(matches!(error, CheckpointError::Json { .. }), "{error}");
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}

#[test]
fn tensors_and_numbers_come_back_bit_for_bit() {
    let run = tempfile::tempdir().unwrap();
    let values: Vec<f32> =
        (0..200_003_u32).map(|n| f32::from_bits(n.wrapping_mul(0x9e37_79b9))).collect();
    let tensors = [
        TensorData { name: "z", shape: &[200_003], values: &values },
        TensorData { name: "a", shape: &[2, 2], values: &[1.0, -0.0, 0.1, f32::MIN_POSITIVE] },
    ];
    // A reader that rounds carelessly misses some of these by a bit.
    let numbers: Vec<f64> = (1..20_000_u64).map(|n| 1.0 / (n as f64 * 1e5).sqrt()).collect();
    let mut writer = CheckpointWriter::create(run.path(), 1).unwrap();
    writer.tensors("model.safetensors", &tensors).unwrap();
    writer.json("state.json", &numbers).unwrap();
    writer.commit().unwrap();
    let checkpoint = checkpoint::load(run.path()).unwrap().checkpoint;
    let mut file = checkpoint.tensors("model.safetensors").unwrap();
    let mut read = Vec::new();
    for TensorData { name, values, .. } in tensors {
        file.read(name, &mut read).unwrap();
        assert!(read.iter().map(|v| v.to_bits()).eq(values.iter().map(|v| v.to_bits())), "{name}");
    }
    let read: Vec<f64> = checkpoint.json("state.json").unwrap();
    let value: Value = checkpoint.json("state.json").unwrap();
    for (index, number) in numbers.iter().enumerate() {
        assert_eq!(read[index].to_bits(), number.to_bits(), "{number}");
        assert_eq!(value[index].as_f64().map(f64::to_bits), Some(number.to_bits()), "{number}");
    }
    assert!(checkpoint.tensors("state.json").is_err());
}

#[test]
fn dropped_before_commit_leaves_nothing() {
    let run = tempfile::tempdir().unwrap();
    save(run.path(), 1, "one");
    let mut writer = CheckpointWriter::create(run.path(), 2).unwrap();
    writer.file("tokenizer/a", |out| out.write_all(b"x")).unwrap();
    assert_eq!(names(run.path()).len(), 3);
    drop(writer);
    assert_eq!(names(run.path()), ["latest", "step-000001"]);
}

#[test]
fn bad_names_are_refused_and_harmless() {
    let run = tempfile::tempdir().unwrap();
    let mut writer = CheckpointWriter::create(run.path(), 1).unwrap();
    writer.file("a", |_| Ok(())).unwrap();
    for name in ["a", "", "..", "../a", "/a", "b/../c", "MANIFEST", "b\n"] {
        let error = writer.file(name, |_| panic!("written")).unwrap_err();
        assert!(
            matches!(&error, CheckpointError::Name { name: given, .. } if given == name),
            "{error}"
        );
    }
    let error = writer.file("a/b", |_| panic!("written")).unwrap_err();
    assert!(matches!(error, CheckpointError::Save { .. }), "{error}");
}

/// Takes some bytes, then the disk is full.
struct FullAfter<'a> {
    out: &'a mut dyn Write,
    room: usize,
}

impl Write for FullAfter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let count = self.out.write(&bytes[..bytes.len().min(self.room)])?;
        self.room -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[test]
fn a_full_disk_names_the_file_and_keeps_the_old_checkpoint() {
    let run = tempfile::tempdir().unwrap();
    save(run.path(), 90, "ninety");
    // Of the same step too: a failed replacement must not take the old one with it.
    for step in [90, 100] {
        let mut writer = CheckpointWriter::create(run.path(), step).unwrap();
        writer.file("state.json", |out| out.write_all(b"{}")).unwrap();
        let error = writer
            .file("model.safetensors", |out| {
                FullAfter { out, room: 1_000_000 }.write_all(&vec![7; 2_000_000])
            })
            .unwrap_err();
        let CheckpointError::Save { path, source } = &error else { panic!("{error}") };
        assert_eq!(path, &run.path().join(format!("step-{step:06}/model.safetensors")));
        assert_eq!(source.kind(), ErrorKind::StorageFull);
        assert_eq!(names(run.path()), ["latest", "step-000090"], "space is given back at once");

        let error = writer.file("config.json", |_| Ok(())).unwrap_err();
        assert!(matches!(error, CheckpointError::Incomplete { .. }), "{error}");
        let error = writer.commit().unwrap_err();
        assert!(matches!(error, CheckpointError::Incomplete { .. }), "{error}");
        assert_eq!(names(run.path()), ["latest", "step-000090"]);
        assert_eq!(model(run.path(), 90), "ninety");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_systems_own_error_comes_through() {
    let run = tempfile::tempdir().unwrap();
    let mut writer = CheckpointWriter::create(run.path(), 1).unwrap();
    let error = writer
        .file("model.safetensors", |_| fs::File::create("/dev/full")?.write_all(b"weights"))
        .unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    // `json` passes the cause on too, which serde_json wraps.
    let mut writer = CheckpointWriter::create(run.path(), 2).unwrap();
    let error = writer
        .file("state.json", |_| {
            Ok(serde_json::to_writer(fs::File::create("/dev/full")?, &json!({"step": 1}))?)
        })
        .unwrap_err();
    let CheckpointError::Save { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull, "{error}");
}

/// The kernel itself stops the write: the test runs itself again under a limit on the size of files.
#[cfg(target_os = "linux")]
#[test]
fn a_write_that_the_kernel_stops_midway_leaves_the_old_checkpoint() {
    const RUN: &str = "KILN_TEST_LIMITED_RUN";
    if let Some(run) = std::env::var_os(RUN) {
        let run = Path::new(&run);
        let mut writer = CheckpointWriter::create(run, 2).unwrap();
        let written = writer.file("model.safetensors", |out| out.write_all(&vec![1; 8 << 20]));
        let CheckpointError::Save { path, source } = written.unwrap_err() else { panic!() };
        assert_eq!(path, run.join("step-000002/model.safetensors"));
        assert_eq!(source.kind(), ErrorKind::FileTooLarge);
        assert_eq!(names(run), ["latest", "step-000001"]);
        println!("stopped midway");
        return;
    }
    let run = tempfile::tempdir().unwrap();
    save(run.path(), 1, "one");
    let test = "a_write_that_the_kernel_stops_midway_leaves_the_old_checkpoint";
    // 1024 blocks are at most 1 MiB; without the trap the signal would end the process.
    let script = r#"trap "" XFSZ; ulimit -f 1024; exec "$0" --exact "$1" --nocapture"#;
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(RUN, run.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains("stopped midway"), "{output:?}");
    assert_eq!(model(run.path(), 1), "one");
}

#[test]
fn the_same_step_is_replaced_as_a_whole() {
    let run = tempfile::tempdir().unwrap();
    let old = save(run.path(), 5, "old");
    fs::write(old.join("notes"), "not of the new one").unwrap();
    let new = save(run.path(), 5, "new");
    assert_eq!(old, new);
    assert_eq!(model(run.path(), 5), "new");
    assert_eq!(names(&new), ["MANIFEST", "model.safetensors", "state.json"]);
    assert_eq!(names(run.path()), ["latest", "step-000005"]);
}

#[test]
fn leftovers_of_a_kill_are_removed_and_the_last_save_is_used() {
    let run = tempfile::tempdir().unwrap();
    save(run.path(), 10, "ten");
    // Killed while writing files, and before there was a list.
    for name in [".step-000020.tmp-4194303", ".step-000030.tmp-1", ".step-000005.removed-9"] {
        fs::create_dir(run.path().join(name)).unwrap();
        fs::write(run.path().join(name).join("model.safetensors"), "hal").unwrap();
    }
    fs::write(run.path().join(".step-000020.tmp-4194303/MANIFEST"), "").unwrap();
    let loaded = checkpoint::load(run.path()).unwrap();
    assert_eq!((loaded.checkpoint.step(), loaded.damaged.len()), (Some(10), 0));

    let removed = clean_leftovers(run.path()).unwrap();
    assert_eq!(removed.len(), 3);
    assert_eq!(names(run.path()), ["latest", "step-000010"]);
    assert!(clean_leftovers(&run.path().join("missing")).unwrap().is_empty());
}

#[test]
fn saving_removes_leftovers_even_of_its_own_process_id() {
    let run = tempfile::tempdir().unwrap();
    let left = run.path().join(format!(".step-000020.tmp-{}", std::process::id()));
    fs::create_dir(&left).unwrap();
    fs::write(left.join("MANIFEST"), "").unwrap();
    save(run.path(), 20, "twenty");
    assert_eq!(names(run.path()), ["latest", "step-000020"]);
    assert_eq!(model(run.path(), 20), "twenty");
}

#[test]
fn a_save_in_progress_is_no_leftover() {
    let run = tempfile::tempdir().unwrap();
    let mut writer = CheckpointWriter::create(run.path(), 20).unwrap();
    writer.file("model.safetensors", |out| out.write_all(b"x")).unwrap();
    assert!(clean_leftovers(run.path()).unwrap().is_empty());
    save(run.path(), 10, "another");
    writer.commit().unwrap();
    assert_eq!(names(run.path()), ["latest", "step-000010", "step-000020"]);
}

#[test]
fn a_kill_between_the_two_renames_of_a_replacement_loses_nothing() {
    let run = tempfile::tempdir().unwrap();
    let dir = save(run.path(), 5, "old");
    let aside = run.path().join(".step-000005.replaced-77");
    fs::rename(&dir, &aside).unwrap();
    clean_leftovers(run.path()).unwrap();
    assert_eq!(model(run.path(), 5), "old");
    // Killed one rename later: the new one is in its place.
    save(&run.path().join("other"), 5, "older");
    fs::rename(run.path().join("other/step-000005"), &aside).unwrap();
    assert_eq!(clean_leftovers(run.path()).unwrap(), [aside]);
    assert_eq!(model(run.path(), 5), "old");
}

#[test]
fn keep_last_removes_only_older_ones() {
    let run = tempfile::tempdir().unwrap();
    for step in [1, 2, 3, 4, 5] {
        save(run.path(), step, "x");
    }
    let removed = keep_last(run.path(), 3).unwrap();
    assert_eq!(removed, [run.path().join("step-000002"), run.path().join("step-000001")]);
    assert_eq!(names(run.path()), ["latest", "step-000003", "step-000004", "step-000005"]);
    assert!(keep_last(run.path(), 3).unwrap().is_empty());
    // A damaged one does not count as kept.
    fs::write(run.path().join("step-000004/model.safetensors"), "").unwrap();
    assert!(keep_last(run.path(), 2).unwrap().is_empty());
    assert_eq!(keep_last(run.path(), 0).unwrap().len(), 2);
    assert_eq!(names(run.path()), ["latest", "step-000005"]);
}

#[test]
fn keep_last_removes_nothing_without_a_whole_newest() {
    let run = tempfile::tempdir().unwrap();
    for step in [1, 2, 3] {
        save(run.path(), step, "x");
    }
    fs::remove_file(run.path().join("step-000003/state.json")).unwrap();
    assert!(keep_last(run.path(), 1).unwrap().is_empty());
    fs::remove_dir_all(run.path().join("step-000003")).unwrap();
    assert!(keep_last(run.path(), 1).unwrap().is_empty());
    fs::remove_file(run.path().join("latest")).unwrap();
    assert!(keep_last(run.path(), 1).unwrap().is_empty());
    assert_eq!(names(run.path()), ["step-000001", "step-000002"]);
}

#[test]
fn a_run_that_went_back_keeps_what_it_saves() {
    let run = tempfile::tempdir().unwrap();
    for step in [10, 20, 30] {
        save(run.path(), step, "first try");
    }
    checkpoint::set_latest(run.path(), 10).unwrap();
    assert_eq!(checkpoint::load(run.path()).unwrap().checkpoint.step(), Some(10));
    save(run.path(), 15, "second try");
    keep_last(run.path(), 1).unwrap();
    assert_eq!(names(run.path()), ["latest", "step-000015", "step-000020", "step-000030"]);
    assert_eq!(checkpoint::load(run.path()).unwrap().checkpoint.step(), Some(15));
}
