//! Which licence a file or a project names. A hint for provenance, not legal advice.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// A licence identifier stands at the top of a file, if anywhere.
const FILE_HEAD_BYTES: usize = 4096;
/// Titles and first clauses of every licence below lie in this many bytes.
const LICENCE_HEAD_BYTES: u64 = 8192;

/// Phrases that all must occur (white space folded, lower case), most particular licences first.
const TEXTS: &[(&str, &[&str])] = &[
    ("AGPL-3.0", &["gnu affero general public license", "version 3, 19 november 2007"]),
    ("LGPL-3.0", &["gnu lesser general public license", "version 3, 29 june 2007"]),
    ("LGPL-2.1", &["gnu lesser general public license", "version 2.1, february 1999"]),
    ("LGPL-2.0", &["gnu library general public license", "version 2, june 1991"]),
    ("GPL-3.0", &["gnu general public license", "version 3, 29 june 2007"]),
    ("GPL-2.0", &["gnu general public license", "version 2, june 1991"]),
    ("MPL-2.0", &["mozilla public license", "2.0"]),
    ("Apache-2.0", &["apache license", "version 2.0"]),
    ("BSL-1.0", &["boost software license", "version 1.0"]),
    ("Unlicense", &["this is free and unencumbered software released into the public domain"]),
    ("CC0-1.0", &["cc0 1.0 universal"]),
    (
        "Zlib",
        &["this software is provided 'as-is'", "altered source versions must be plainly marked"],
    ),
    ("BSD-3-Clause", &["redistribution and use in source and binary forms", "neither the name"]),
    (
        "BSD-3-Clause",
        &["redistribution and use in source and binary forms", "may not be used to endorse"],
    ),
    ("BSD-2-Clause", &["redistribution and use in source and binary forms"]),
    ("ISC", &["permission to use, copy, modify, and/or distribute this software for any purpose"]),
    ("ISC", &["permission to use, copy, modify, and distribute this software for any purpose"]),
    ("MIT", &["permission is hereby granted, free of charge", "the above copyright notice"]),
];

/// How a file's header offers a choice of two licences; as in [`TEXTS`].
const CHOICES: &[(&str, &[&str])] = &[
    ("Apache-2.0 OR GPL-2.0-only", &["licensed under both the gplv2", "and apache 2.0 license"]),
    ("BSD-3-Clause OR GPL-2.0-only", &["licensed under both the bsd-style license", "the gplv2"]),
    ("Apache-2.0 OR MIT", &["apache license, version 2.0", "or the mit license"]),
];

/// How a file's header refers to a licence whose text stands elsewhere; as in [`TEXTS`].
const REFERENCES: &[(&str, &[&str])] = &[
    ("MPL-2.0", &["mozilla public license", "v. 2.0"]),
    ("Apache-2.0", &["apache license 2.0"]),
    ("Apache-2.0", &["apache license v2.0"]),
    ("Apache-2.0", &["apache 2.0 license"]),
    ("BSL-1.0", &["boost software license"]),
    ("MIT", &["mit license"]),
    ("MIT", &["mit/x11 license"]),
    ("Zlib", &["zlib license"]),
    ("ISC", &["isc license"]),
    ("BSD-3-Clause", &["bsd 3-clause"]),
    ("BSD-3-Clause", &["3-clause bsd"]),
    ("BSD-3-Clause", &["new bsd license"]),
    ("BSD-2-Clause", &["bsd 2-clause"]),
    ("BSD-2-Clause", &["2-clause bsd"]),
    ("BSD-2-Clause", &["simplified bsd license"]),
    ("Unlicense", &["the unlicense"]),
    ("CC0-1.0", &["creative commons zero"]),
    ("CC0-1.0", &["cc0 1.0"]),
    ("blessing", &["the author disclaims copyright to this source code", "a blessing"]),
    (PUBLIC_DOMAIN, &["is in the public domain"]),
    (PUBLIC_DOMAIN, &["placed in the public domain"]),
    (PUBLIC_DOMAIN, &["released into the public domain"]),
    (PUBLIC_DOMAIN, &["released to the public domain"]),
    (PUBLIC_DOMAIN, &["public domain software"]),
    (PUBLIC_DOMAIN, &["public domain code"]),
];

/// There is no licence to name, and SPDX has no name for that.
const PUBLIC_DOMAIN: &str = "LicenseRef-public-domain";

/// The GNU licences, which files name together with a version; the most particular name first.
const GNU: &[(&str, &str)] = &[
    ("AGPL", "gnu affero general public license"),
    ("LGPL", "gnu lesser general public license"),
    ("LGPL", "gnu library general public license"),
    ("GPL", "gnu general public license"),
    ("GPL", "gnu gpl"),
];

/// What a text says about its own licence near its top: the expression after `SPDX-License-Identifier:`, else the
/// licence whose text or name stands in its header. `None` where it refers to a file or says nothing.
pub(crate) fn of_text(text: &str) -> Option<Cow<'_, str>> {
    if let Some(expression) = spdx_identifier(text) {
        return Some(Cow::Borrowed(expression));
    }
    let head = folded(&text[..text.floor_char_boundary(FILE_HEAD_BYTES)]);
    if !["licen", "permission", "redistribution", "public domain", "copyright", "software"]
        .iter()
        .any(|word| head.contains(word))
    {
        return None;
    }
    if let Some(choice) = first_of(CHOICES, &head) {
        return Some(Cow::Borrowed(choice));
    }
    // Several notices may follow one another; which of them may be chosen is more than the words tell.
    let mut names = gnu_references(&head);
    names.extend(first_of(TEXTS, &head).or_else(|| first_of(REFERENCES, &head)).map(str::to_owned));
    (!names.is_empty()).then(|| Cow::Owned(names.join(", ")))
}

fn first_of(list: &[(&'static str, &[&str])], head: &str) -> Option<&'static str> {
    let holds = |phrases: &[&str]| phrases.iter().all(|phrase| head.contains(phrase));
    list.iter().find(|(_, phrases)| holds(phrases)).map(|(name, _)| *name)
}

/// `GPL-2.0-or-later` and the like, from the sentences that the licences themselves recommend.
fn gnu_references(head: &str) -> Vec<String> {
    let mut found: Vec<String> = GNU
        .iter()
        .filter_map(|(family, name)| {
            Some(format!("{family}-{}", gnu_version(head, head.find(name)?, name.len())?))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// `2.0-or-later`: the version that is nearest to the licence's name, at `at` and `length` bytes long.
fn gnu_version(head: &str, at: usize, length: usize) -> Option<String> {
    let near = |before: usize, after: usize| {
        &head[head.floor_char_boundary(at.saturating_sub(before))
            ..head.floor_char_boundary(at + length + after)]
    };
    // The first one: a further notice may name another.
    let version_in = |text: &str| {
        let places = ["3.0", "3", "2.1", "2.0", "2"].into_iter().filter_map(|version| {
            let ends = [" ", ",", ".", ")", ";"]
                .iter()
                .flat_map(|end| [format!("version {version}{end}"), format!(" v{version}{end}")]);
            Some((ends.filter_map(|phrase| text.find(&phrase)).min()?, version))
        });
        // "2.1" begins as "2." does, and says more.
        places.min_by_key(|(at, version)| (*at, std::cmp::Reverse(version.len()))).map(|(_, v)| v)
    };
    // "version 2 of the GNU General Public License", or the usual sentence, which names the version at its end.
    let version = version_in(near(0, 160)).or_else(|| version_in(near(60, 0)))?;
    let version = if version.len() == 1 { format!("{version}.0") } else { version.to_owned() };
    let near = near(60, 220);
    let later = ["any later version", "or later", "or newer"].iter().any(|p| near.contains(p));
    Some(format!("{version}-{}", if later { "or-later" } else { "only" }))
}

/// Lower case, without the markers of comments, and one blank for all white space.
fn folded(text: &str) -> String {
    let is_marker = |c: char| matches!(c, '/' | '*' | '#' | ';' | '!' | '|');
    let mut folded = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.trim_matches(|c: char| c.is_whitespace() || is_marker(c));
        for word in line.split_whitespace() {
            folded.push_str(word);
            folded.push(' ');
        }
    }
    folded.make_ascii_lowercase();
    folded
}

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
    let text = folded(text);
    first_of(TEXTS, &text).or_else(|| first_of(REFERENCES, &text))
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

    #[test]
    fn headers_name_their_licence() {
        let gpl = |version: &str, later: &str| {
            format!(
                "/* This program is free software; you can redistribute it and/or modify\n * it under the \
                 terms of the GNU General Public License as published by\n * the Free Software Foundation; \
                 {version} of the License{later}.\n */"
            )
        };
        for (text, expected) in [
            (gpl("either version 2", ", or\n * (at your option) any later version"), "GPL-2.0-or-later"),
            (gpl("version 2", ""), "GPL-2.0-only"),
            (gpl("either version 3", ", or (at your option) any later version"), "GPL-3.0-or-later"),
            (
                "// License as published: GNU Lesser General Public\n// License version 2.1, or later\n".into(),
                "LGPL-2.1-or-later",
            ),
            (
                "// Licensed under the Apache License, Version 2.0 (the \"License\");\n".into(),
                "Apache-2.0",
            ),
            (
                "//  This source code is licensed under both the GPLv2 (found in the\n//  COPYING file) and \
                 Apache 2.0 License\n//  (found in the LICENSE.Apache file).\n"
                    .into(),
                "Apache-2.0 OR GPL-2.0-only",
            ),
            (
                "// under the terms of the GNU General Public License, version 2,\n// as published by the FSF.\n\
                 // ----\n// under the terms of the GNU Affero General Public License, version 3,\n// as published.\n\
                 // Licensed under the Apache License, Version 2.0"
                    .into(),
                "AGPL-3.0-only, GPL-2.0-only, Apache-2.0",
            ),
            ("// Distributed under the Boost Software License, Version 1.0.\n".into(), "BSL-1.0"),
            (
                "/* This Source Code Form is subject to the terms of the Mozilla Public\n * License, v. 2.0. */"
                    .into(),
                "MPL-2.0",
            ),
            ("// Licensed under the MIT License <http://opensource.org>.\n".into(), "MIT"),
            ("/* This file is in the public domain. */".into(), PUBLIC_DOMAIN),
            ("// SPDX-License-Identifier: Zlib\n// MIT License\n".into(), "Zlib"),
        ] {
            assert_eq!(of_text(&text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn headers_that_point_elsewhere_name_none() {
        for text in [
            "// Use of this source code is governed by a BSD-style license that can be\n// found in the LICENSE file.",
            "// For the license information refer to format.h.\nint x;",
            "// Copyright (c) 2020 A. All rights reserved.",
            "int license_count; // permission bits",
            "",
        ] {
            assert_eq!(of_text(text), None, "{text}");
        }
        let late = format!("{}// MIT License\n", "int x;\n".repeat(1000));
        assert_eq!(of_text(&late), None);
    }
}
