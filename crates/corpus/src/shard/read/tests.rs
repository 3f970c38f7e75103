use super::*;
use crate::shard::columns::Columns;
use crate::shard::parquet::ParquetWriter;

/// A Parquet file of documents with these texts.
fn parquet_bytes(texts: &[&str]) -> Vec<u8> {
    let mut columns = Columns::default();
    let record = |text: &&str| {
        let mut record = Record::default();
        record.set("text", text);
        record.set("project", "p");
        record
    };
    let records: Vec<_> = texts.iter().map(record).collect();
    records.iter().for_each(|record| columns.add(record));
    let columns = columns.into_sorted().into();
    let mut writer = ParquetWriter::new(Vec::new(), columns, texts.len() as u64).unwrap();
    records.into_iter().for_each(|record| writer.push(record, 1).unwrap());
    writer.finish().unwrap()
}

fn zstd_bytes(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 3).unwrap()
}

/// All rows: the text, or what is wrong.
fn rows(input: &Input) -> Vec<(u64, Result<String, String>)> {
    let mut found = Vec::new();
    let read = input.read(&mut |batch| {
        for row in batch.rows {
            let text = row.record.map(|record| record.string("text").unwrap_or("").to_owned());
            found.push((row.number, text));
        }
        Ok(())
    });
    assert!(read.is_ok());
    found
}

fn only(path: &Path) -> Input {
    let mut inputs = list(&[path.to_owned()]).unwrap();
    assert_eq!(inputs.len(), 1);
    inputs.remove(0)
}

#[test]
fn every_format_gives_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let jsonl = "{\"text\":\"a\"}\n\n{\"text\":\"é\\n\"}\n";
    let plain = folder.path().join("a.jsonl");
    fs::write(&plain, jsonl).unwrap();
    let packed = folder.path().join("b.JSONL.ZST");
    fs::write(&packed, zstd_bytes(jsonl)).unwrap();
    let parquet = folder.path().join("c.parquet");
    fs::write(&parquet, parquet_bytes(&["a", "é\n"])).unwrap();
    let texts = |path: &Path| -> Vec<String> {
        rows(&only(path)).into_iter().map(|(_, text)| text.unwrap()).collect()
    };
    for path in [&plain, &packed, &parquet] {
        assert_eq!(only(path).check(), Ok(()));
        assert_eq!(texts(path), ["a", "é\n"], "{}", path.display());
    }
}

#[test]
fn folders_are_read_in_the_order_of_names_and_without_markers() {
    let folder = tempfile::tempdir().unwrap();
    for name in
        ["b.jsonl", "a.jsonl.zst", "B.parquet", "_COMPLETE", ".tmp.jsonl", "_x.jsonl", "n.md"]
    {
        fs::write(folder.path().join(name), "").unwrap();
    }
    fs::create_dir(folder.path().join("dir.jsonl")).unwrap();
    let inputs = list(&[folder.path().to_owned()]).unwrap();
    let names: Vec<_> =
        inputs.iter().map(|i| i.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["B.parquet", "a.jsonl.zst", "b.jsonl"]);
}

#[test]
fn sources_that_hold_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("a.txt");
    fs::write(&text, "x").unwrap();
    let refused = |path: PathBuf| list(&[path]).unwrap_err();
    assert!(matches!(refused(folder.path().join("none")), CorpusError::InputMissing { .. }));
    assert!(matches!(refused(text), CorpusError::InputUnknown { .. }));
    assert!(matches!(refused(folder.path().to_owned()), CorpusError::NoInputFiles { .. }));
    assert!(matches!(list(&[]), Err(CorpusError::NoSources)));
}

#[test]
fn bad_lines_are_told_with_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(
        &path,
        b"\xef\xbb\xbf{\"text\":\"a\"}\nnonsense\n{\"x\":1}\n{\"text\":\"\xff\"}\n{\"text\":\"b\"",
    )
    .unwrap();
    let rows = rows(&only(&path));
    let numbers: Vec<_> = rows.iter().map(|(number, row)| (*number, row.is_ok())).collect();
    assert_eq!(numbers, [(1, true), (2, false), (3, false), (4, false), (5, false)]);
    assert!(rows[2].1.as_ref().unwrap_err().contains("no field `text`"));
}

#[test]
fn long_files_come_in_batches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let lines: String = (0..3000).map(|n| format!("{{\"text\":\"{n}\"}}\n")).collect();
    fs::write(&path, lines).unwrap();
    let mut sizes = Vec::new();
    let mut last = 0;
    let read = only(&path).read(&mut |batch| {
        sizes.push(batch.rows.len());
        last = batch.position;
        Ok(())
    });
    assert!(read.is_ok() && sizes.iter().all(|size| *size <= BATCH_DOCUMENTS));
    assert_eq!((sizes.iter().sum::<usize>(), last), (3000, only(&path).bytes));
}

#[test]
fn damage_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let texts: Vec<String> =
        (0..500).map(|n| format!("int f{n}() {{ return {}; }}", n * n)).collect();
    let parquet = parquet_bytes(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let packed = zstd_bytes(&texts.concat());
    for (name, bytes) in [
        ("cut.parquet", &parquet[..parquet.len() / 2]),
        ("empty.parquet", &[]),
        ("text.parquet", b"{\"text\":\"a\"}\n"),
        ("cut.jsonl.zst", &packed[..packed.len() / 2]),
        ("text.jsonl.zst", b"{\"text\":\"a\"}\n"),
    ] {
        fs::write(path(name), bytes).unwrap();
        assert!(only(&path(name)).check().is_err(), "{name}");
    }
}

#[test]
fn no_damage_to_a_parquet_file_ends_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let texts: Vec<String> = (0..40).map(|n| format!("text {n}")).collect();
    let good = parquet_bytes(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut damaged = 0;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        fs::write(&path, &bad).unwrap();
        damaged += u32::from(only(&path).check().is_err());
    }
    assert!(damaged > 0);
}
