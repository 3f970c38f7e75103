//! Saving and loading, and every way in which the files can be wrong.

use std::fs;
use std::path::Path;

use kiln_tokenizer::{Error, Kind, TOKEN_BYTES_FILE, TOKENIZER_FILE, Tokenizer};
use serde_json::{Value, json};

const TEXT: &str = "int alpha = beta(alpha); // alpha é";

fn saved() -> (tempfile::TempDir, Tokenizer) {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::train(Kind::Bpe, &[TEXT], 280).unwrap();
    tokenizer.save(folder.path()).unwrap();
    (folder, tokenizer)
}

#[test]
fn a_saved_tokenizer_loads_as_it_was() {
    let (folder, tokenizer) = saved();
    let loaded = Tokenizer::load(folder.path()).unwrap();
    assert_eq!(loaded.fingerprint(), tokenizer.fingerprint());
    assert_eq!(loaded.token_bytes(), tokenizer.token_bytes());
    assert_eq!(loaded.kind(), tokenizer.kind());
    assert_eq!(loaded.encode_ordinary(TEXT.as_bytes()), tokenizer.encode_ordinary(TEXT.as_bytes()));
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [TOKEN_BYTES_FILE, TOKENIZER_FILE], "no temporary file stays");
    let first = fs::read(folder.path().join(TOKENIZER_FILE)).unwrap();
    loaded.save(folder.path()).unwrap();
    assert!(first == fs::read(folder.path().join(TOKENIZER_FILE)).unwrap());
}

#[test]
fn saving_makes_the_folder_and_names_what_it_cannot_write() {
    let (folder, tokenizer) = saved();
    tokenizer.save(folder.path().join("a/b")).unwrap();
    Tokenizer::load(folder.path().join("a/b")).unwrap();
    let file = folder.path().join(TOKENIZER_FILE);
    let error = tokenizer.save(&file).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == file), "{error}");
}

#[test]
fn merges_written_as_one_string_load_too() {
    let (folder, tokenizer) = saved();
    edit(folder.path(), |json| {
        for merge in json["model"]["merges"].as_array_mut().unwrap() {
            let pair = format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap());
            *merge = pair.into();
        }
    });
    let loaded = Tokenizer::load(folder.path()).unwrap();
    assert_eq!(loaded.fingerprint(), tokenizer.fingerprint());
}

#[test]
fn tiktoken_export_reads_back() {
    let (folder, tokenizer) = saved();
    let path = folder.path().join("ranks.tiktoken");
    tokenizer.export_tiktoken(&path).unwrap();
    let read = Tokenizer::from_tiktoken(&path).unwrap();
    assert_eq!(read.fingerprint(), tokenizer.fingerprint());
    fs::write(&path, "AA== 1\n").unwrap();
    let error = Tokenizer::from_tiktoken(&path).unwrap_err().to_string();
    assert!(error.contains("ranks.tiktoken: line 1: expected rank 0"), "{error}");
}

fn edit(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join(TOKENIZER_FILE);
    let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(&path, serde_json::to_vec(&json).unwrap()).unwrap();
}

/// Loading after `change` fails and the message has the file's name and `reason`.
fn rejects(reason: &str, change: impl FnOnce(&mut Value)) {
    let (folder, _) = saved();
    edit(folder.path(), change);
    let error = Tokenizer::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains(TOKENIZER_FILE) && error.contains(reason), "{error}");
}

#[test]
fn missing_files_are_named() {
    for name in [TOKENIZER_FILE, TOKEN_BYTES_FILE] {
        let (folder, _) = saved();
        fs::remove_file(folder.path().join(name)).unwrap();
        let error = Tokenizer::load(folder.path()).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if path.ends_with(name)), "{error}");
    }
}

#[test]
fn broken_json_is_named_with_its_place() {
    for name in [TOKENIZER_FILE, TOKEN_BYTES_FILE] {
        let (folder, _) = saved();
        let path = folder.path().join(name);
        let whole = fs::read(&path).unwrap();
        for broken in [&whole[..whole.len() / 2], b"", b"{\"model\": 3}", b"\xff"] {
            fs::write(&path, broken).unwrap();
            let error = Tokenizer::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}

#[test]
fn vocabularies_with_holes_are_rejected() {
    rejects("`zz` has id 272", |json| json["model"]["vocab"]["zz"] = 272.into());
    rejects("ids are missing", |json| {
        json["model"]["vocab"]["al"] = 4_000_000_000u32.into();
    });
    rejects("both have id 256", |json| json["model"]["vocab"]["zz"] = 256.into());
    rejects("id 97 must be the byte 97, spelled `a`", |json| {
        json["model"]["vocab"]["a"] = 98.into();
        json["model"]["vocab"]["b"] = 97.into();
    });
    rejects("id 0 must be the byte 0", |json| json["model"]["vocab"] = json!({}));
    rejects("", |json| json["model"]["vocab"]["al"] = (-1).into());
}

#[test]
fn merges_that_make_no_sense_are_rejected() {
    rejects("merge 0: unknown token `zz`", |json| json["model"]["merges"][0] = json!(["zz", "a"]));
    rejects("merge 0: unknown token `zz`", |json| json["model"]["merges"][0] = "a zz".into());
    rejects("merge 0: `alpha` is not two tokens", |json| {
        json["model"]["merges"][0] = "alpha".into();
    });
    rejects("only exists after this merge", |json| {
        json["model"]["merges"][0] = json!(["alpha", "a"]);
    });
    rejects("do not make token 256", |json| json["model"]["merges"][0] = json!(["x", "y"]));
    rejects("14 merges for 271 tokens", |json| {
        json["model"]["merges"].as_array_mut().unwrap().pop();
    });
    rejects("", |json| json["model"]["merges"][0] = json!(["a"]));
    rejects("", |json| json["model"]["merges"][0] = json!({"a": "l"}));
}

/// What two merges with the same bytes would come to: one of them can never happen.
#[test]
fn merges_that_can_never_happen_are_rejected() {
    rejects("`aab` (id 258) never comes out of the merges", |json| {
        for (index, token) in ["aa", "ab", "aab"].into_iter().enumerate() {
            rename(json, 256 + index, token);
        }
        for id in 259..271 {
            rename(json, id, &"z".repeat(id - 257));
        }
        let run = |len| "z".repeat(len);
        let mut merges = vec![json!(["a", "a"]), json!(["a", "b"]), json!(["a", "ab"])];
        merges.extend((1..13).map(|len| json!([run(len), "z"])));
        json["model"]["merges"] = merges.into();
    });
}

fn rename(json: &mut Value, id: usize, token: &str) {
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    vocab.retain(|_, value| *value != id);
    vocab.insert(token.into(), id.into());
}

#[test]
fn special_tokens_must_be_where_they_belong() {
    rejects("8 added tokens: expected 9", |json| {
        json["added_tokens"].as_array_mut().unwrap().pop();
    });
    rejects("expected `<|bos|>` with id 271", |json| json["added_tokens"][0]["id"] = 5.into());
    rejects("`<|x|>`", |json| json["added_tokens"][8]["content"] = "<|x|>".into());
}

#[test]
fn other_kinds_of_tokenizer_are_rejected() {
    rejects("`pre_tokenizer`", |json| json["pre_tokenizer"] = Value::Null);
    rejects("`pre_tokenizer`", |json| {
        json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\w+".into();
    });
    rejects("`pre_tokenizer`", |json| {
        json["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = true.into();
    });
    rejects("`normalizer`", |json| json["normalizer"] = json!({"type": "NFC"}));
    rejects("`model.type`", |json| json["model"]["type"] = "Unigram".into());
    rejects("dropout", |json| json["model"]["dropout"] = json!(0.1));
    rejects("dropout", |json| json["model"]["end_of_word_suffix"] = "</w>".into());
}

#[test]
fn lengths_that_do_not_fit_are_rejected() {
    for (change, reason) in [
        ((|lengths| lengths.push(0)) as fn(&mut Vec<u32>), "281 lengths"),
        (|lengths| lengths[256] = 9, "id 256 has 9 bytes here, but 2"),
    ] {
        let (folder, tokenizer) = saved();
        let path = folder.path().join(TOKEN_BYTES_FILE);
        let mut lengths = tokenizer.token_bytes().to_vec();
        change(&mut lengths);
        fs::write(&path, serde_json::to_vec(&lengths).unwrap()).unwrap();
        let error = Tokenizer::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(TOKEN_BYTES_FILE) && error.contains(reason), "{error}");
    }
}

/// A folder with a `cpp` tokenizer that has learned tokens.
fn saved_cpp() -> (tempfile::TempDir, Tokenizer) {
    let folder = tempfile::tempdir().unwrap();
    let minimum = match Tokenizer::train::<&str>(Kind::Cpp, &[], 0) {
        Err(Error::VocabTooSmall { minimum, .. }) => minimum,
        other => panic!("{other:?}"),
    };
    let text = "alphaBeta(gamma);\n  vectors = vectors;\n";
    let tokenizer = Tokenizer::train(Kind::Cpp, &[text], minimum + 20).unwrap();
    tokenizer.save(folder.path()).unwrap();
    (folder, tokenizer)
}

#[test]
fn a_saved_cpp_tokenizer_loads_as_it_was_and_is_what_hugging_face_reads() {
    let (folder, tokenizer) = saved_cpp();
    let loaded = Tokenizer::load(folder.path()).unwrap();
    assert_eq!(loaded.fingerprint(), tokenizer.fingerprint());
    assert_eq!(loaded.token_bytes(), tokenizer.token_bytes());
    assert_eq!((loaded.kind(), loaded.special("<FIM_PREFIX>")), (Kind::Cpp, Some(4)));
    let text = "std::vector<alphaBeta> vectors;\n  \u{e9}\t123";
    assert_eq!(loaded.encode_ordinary(text.as_bytes()), tokenizer.encode_ordinary(text.as_bytes()));
    let ids = 0..tokenizer.vocab_size() as u32;
    assert!(ids.into_iter().all(|id| loaded.token(id) == tokenizer.token(id)));

    let path = folder.path().join(TOKENIZER_FILE);
    let json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let vocab = json["model"]["vocab"].as_object().unwrap();
    assert_eq!(vocab.len(), tokenizer.vocab_size());
    assert_eq!((&vocab["<PAD>"], &vocab["Ā"], &vocab["ÿ"]), (&json!(0), &json!(20), &json!(275)));
    assert_eq!(vocab["Ċ"], 20 + u32::from(b'\n'));
    assert_eq!(json["model"]["ignore_merges"], true);
    assert_eq!(json["added_tokens"][19]["content"], "<TOOL_RESULT>");
    assert_eq!(json["added_tokens"][19]["id"], 19);
    let pre_tokenizers = &json["pre_tokenizer"]["pretokenizers"];
    assert_eq!(pre_tokenizers[0]["pattern"]["Regex"], Kind::Cpp.pattern());
    assert_eq!(pre_tokenizers[1]["use_regex"], false);
}

/// As [`rejects`], of kind `cpp`.
fn rejects_cpp(reason: &str, change: impl FnOnce(&mut Value)) {
    let (folder, _) = saved_cpp();
    edit(folder.path(), change);
    let error = Tokenizer::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains(TOKENIZER_FILE) && error.contains(reason), "{error}");
}

#[test]
fn cpp_vocabularies_that_are_not_the_kinds_are_rejected() {
    rejects_cpp("`model.ignore_merges` must be true", |json| {
        json["model"]["ignore_merges"] = false.into();
    });
    rejects_cpp("id 4 must be the special token `<FIM_PREFIX>`", |json| {
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        (vocab["<FIM_PREFIX>"], vocab["<FIM_MIDDLE>"]) = (5.into(), 4.into());
    });
    rejects_cpp("must be the fixed token `int`", |json| {
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        let (bare, blank) = (vocab["int"].clone(), vocab["Ġint"].clone());
        (vocab["int"], vocab["Ġint"]) = (blank, bare);
    });
    rejects_cpp("the first merges are not those of kind cpp", |json| {
        json["model"]["merges"].as_array_mut().unwrap().swap(80, 81);
    });
    rejects_cpp("leave 20 to make", |json| {
        json["model"]["merges"].as_array_mut().unwrap().pop();
    });
    rejects_cpp("make no token that is left", |json| {
        json["model"]["merges"].as_array_mut().unwrap().push(json!(["x", "y"]));
    });
    rejects_cpp("expected `<PAD>` with id 0", |json| json["added_tokens"][0]["id"] = 7.into());
}

#[test]
fn cpp_exports_ranks_that_have_every_token_once() {
    let (_, tokenizer) = saved_cpp();
    let mut file = Vec::new();
    tokenizer.write_tiktoken(&mut file).unwrap();
    let text = String::from_utf8(file).unwrap();
    let mut tokens: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().0).collect();
    assert_eq!(tokens.len(), tokenizer.vocab_size() - 20);
    assert!(text.starts_with("AA== 0\nAQ== 1\n"), "{}", &text[..20]);
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), tokenizer.vocab_size() - 20);
}
