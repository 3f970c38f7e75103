use std::fs;

use super::*;

fn stats(lines: &[&str]) -> CorpusStats {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, lines.join("\n")).unwrap();
    corpus_stats(&[path], None, false, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

const LINES: [&str; 6] = [
    r#"{"text":"int a = 1; int b = 2;","project":"p","licence":"MIT"}"#,
    r#"{"text":"int a=1;\nint b=2;","project":"q","licence":"MIT"}"#,
    r#"{"text":"// SPDX-License-Identifier: Zlib\nint main() {}","project":"q"}"#,
    r#"{"signature":"void f()","body":" g(); ","docstring":"Calls g."}"#,
    r#"{"text":"   "}"#,
    "nonsense",
];

#[test]
fn everything_is_counted_once() {
    let found = stats(&LINES);
    assert_eq!((found.total.documents, found.bad_rows.count), (5, 1));
    assert_eq!((found.duplicates.documents, found.near_duplicates.documents), (1, 0));
    let names = |list: &[NamedAmount]| -> Vec<(String, u64)> {
        list.iter().map(|named| (named.name.clone(), named.amount.documents)).collect()
    };
    let owned = |list: &[(&str, u64)]| -> Vec<(String, u64)> {
        list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
    };
    assert_eq!(names(&found.projects), owned(&[("q", 2), ("unknown", 2), ("p", 1)]));
    assert_eq!(names(&found.licences), owned(&[("Zlib", 1), ("MIT", 2), ("unknown", 2)]));
    assert_eq!(found.files[0].amount, found.total);
    assert!(!found.tokenizer);
    let in_projects: u64 = found.projects.iter().map(|p| p.amount.tokens).sum();
    assert_eq!((in_projects, found.lengths.tokens), (found.total.tokens, found.total.tokens));
}

#[test]
fn tokens_are_those_of_the_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, LINES.join("\n")).unwrap();
    let words = |text: &str| text.split_whitespace().count();
    let sources = [path];
    let found =
        corpus_stats(&sources, Some(&words), false, &mut |_, _| ControlFlow::Continue(())).unwrap();
    assert!(found.tokenizer);
    assert_eq!((found.lengths.shortest, found.lengths.longest), (0, 8));
    let strict = corpus_stats(&sources, None, true, &mut |_, _| ControlFlow::Continue(()));
    assert!(matches!(strict, Err(CorpusError::InputDamaged { .. })));
    let cancelled = corpus_stats(&sources, None, false, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(cancelled, Err(CorpusError::Cancelled)));
}

#[test]
fn near_copies_are_told_from_copies() {
    let text = |n: u32| (0..200).map(|k| format!("w{k} ")).collect::<String>() + &n.to_string();
    let lines: Vec<String> =
        [1, 2, 1].iter().map(|n| serde_json::json!({"text": text(*n)}).to_string()).collect();
    let found = stats(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((found.duplicates.documents, found.near_duplicates.documents), (1, 1));
}
