//! Which licence a file or a project names. A hint for provenance, not legal advice.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// A licence identifier stands at the top of a file, if anywhere.
const FILE_HEAD_BYTES: usize = 4096;
/// Titles and first clauses of every licence below lie in this many bytes.
const LICENCE_HEAD_BYTES: u64 = 8192;

/// Phrases that all must occur (white space folded, lower case), most particular licences first.
const KNOWN: &[(&str, &[&str])] = &[
    ("LGPL-3.0", &["gnu lesser general public license", "version 3"]),
    ("LGPL-2.1", &["gnu lesser general public license", "version 2.1"]),
    ("AGPL-3.0", &["gnu affero general public license", "version 3"]),
    ("GPL-3.0", &["gnu general public license", "version 3, 29 june 2007"]),
    ("GPL-2.0", &["gnu general public license", "version 2, june 1991"]),
    ("MPL-2.0", &["mozilla public license", "2.0"]),
    ("Apache-2.0", &["apache license", "version 2.0"]),
    ("BSL-1.0", &["boost software license", "version 1.0"]),
    ("Unlicense", &["this is free and unencumbered software released into the public domain"]),
    (
        "Zlib",
        &["this software is provided 'as-is'", "altered source versions must be plainly marked"],
    ),
    ("BSD-3-Clause", &["redistribution and use in source and binary forms", "neither the name"]),
    ("BSD-2-Clause", &["redistribution and use in source and binary forms"]),
    ("ISC", &["permission to use, copy, modify, and/or distribute this software for any purpose"]),
    ("MIT", &["permission is hereby granted, free of charge", "the above copyright notice"]),
];

/// The expression after `SPDX-License-Identifier:` near the top of a text.
pub(crate) fn spdx_identifier(text: &str) -> Option<&str> {
    let head = &text[..text.floor_char_boundary(FILE_HEAD_BYTES)];
    let (_, after) = head.split_once("SPDX-License-Identifier:")?;
    let line = after.lines().next()?;
    let line = line.split("*/").next()?.trim();
    (!line.is_empty() && line.len() <= 100).then_some(line)
}

/// The licences that the files named LICENSE*, LICENCE* and COPYING* of a folder state: their SPDX names, sorted,
/// `, ` between them. `None` when there is no such file or none that is known.
pub(crate) fn of_project(root: &Path) -> Option<String> {
    let entries = fs::read_dir(root).ok()?;
    let mut names: Vec<&'static str> = entries
        .filter_map(Result::ok)
        .filter(|entry| is_licence_name(&entry.file_name().to_string_lossy()))
        .filter_map(|entry| read_head(&entry.path()))
        .filter_map(|text| recognise(&text))
        .collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

fn is_licence_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["license", "licence", "copying"].iter().any(|start| name.starts_with(start))
}

fn read_head(path: &Path) -> Option<String> {
    // A pipe of that name would block the reader for ever.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut head = Vec::new();
    File::open(path).ok()?.take(LICENCE_HEAD_BYTES).read_to_end(&mut head).ok()?;
    Some(String::from_utf8_lossy(&head).into_owned())
}

fn recognise(text: &str) -> Option<&'static str> {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    KNOWN.iter().find(|(_, phrases)| phrases.iter().all(|p| folded.contains(p))).map(|(n, _)| *n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_found_near_the_top_only() {
        assert_eq!(
            spdx_identifier("/* SPDX-License-Identifier: MIT OR Zlib */ x"),
            Some("MIT OR Zlib")
        );
        assert_eq!(
            spdx_identifier("// SPDX-License-Identifier: GPL-2.0\r\nint x;"),
            Some("GPL-2.0")
        );
        assert_eq!(spdx_identifier("int x;"), None);
        assert_eq!(spdx_identifier("// SPDX-License-Identifier:\n"), None);
        let late = format!("{}SPDX-License-Identifier: MIT\n", "ü".repeat(3000));
        assert_eq!(spdx_identifier(&late), None);
    }

    #[test]
    fn licence_texts_are_recognised_across_line_breaks() {
        let mit =
            "Permission is hereby granted, free of\n charge, to ... The above copyright notice";
        assert_eq!(recognise(mit), Some("MIT"));
        let bsd = "Redistribution and use in source and\nbinary forms, with or without";
        assert_eq!(recognise(bsd), Some("BSD-2-Clause"));
        assert_eq!(recognise(&format!("{bsd} Neither the name of X")), Some("BSD-3-Clause"));
        assert_eq!(recognise("all rights reserved"), None);
    }

    #[test]
    fn several_licence_files_are_all_named_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(of_project(folder.path()), None);
        write("COPYING", "GNU GENERAL PUBLIC LICENSE\nVersion 2, June 1991");
        write("LICENSE.Apache", "Apache License\n Version 2.0, January 2004");
        write("licence.txt", "ask my lawyer");
        fs::create_dir(folder.path().join("LICENSES")).unwrap();
        assert_eq!(of_project(folder.path()).as_deref(), Some("Apache-2.0, GPL-2.0"));
    }
}
