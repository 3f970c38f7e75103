//! The options of a model: what of them is refused, and the help on them.

use crate::kiln::{Folder, Ran};

/// Four layers of width 256 in rows of 512 tokens, where nothing else is said.
fn plan(folder: &Folder, flags: &str) -> Ran {
    folder.run(&format!("plan --json --vocab-size 500 --dtype f32 {flags}"))
}

#[test]
fn a_setting_without_its_option_is_refused() {
    let folder = Folder::new();
    let settings = [
        ("--engram", "engram-layers 0"),
        ("--engram", "engram-orders 2"),
        ("--engram", "engram-bottleneck 8"),
        ("--engram", "engram-dropout 0.1"),
        ("--mhc", "mhc-iters 3"),
        ("--mhc", "mhc-temperature 2"),
        ("--mhc", "mhc-epsilon 0.1"),
        ("--mhc", "mhc-alpha 0.5"),
        ("--mtp", "mtp-lambda 0.5"),
        ("--dsa", "dsa-start-layer 1"),
        ("--dsa", "dsa-ratio 0.5"),
        ("--dsa", "dsa-local 8"),
        ("--dsa", "dsa-indexer-heads 4"),
        ("--dsa", "dsa-indexer-dim 4"),
    ];
    for (option, setting) in settings {
        let name = setting.split(' ').next().unwrap();
        let message = format!("--{name} means nothing without {option}");
        plan(&folder, &format!("--preset modern --{setting}")).fails(2, &[&message]);
        plan(&folder, &format!("--{setting} {option} false")).fails(2, &[&message]);
    }
}

#[test]
fn a_list_in_a_file_that_is_none_is_told_with_its_line() {
    let folder = Folder::new();
    folder.write("bad.toml", "mtp = true\nengram_layers = ['x']\n");
    plan(&folder, "--config bad.toml").fails(1, &["bad.toml:2:", "whole numbers"]);
}

#[test]
fn values_that_fit_no_model_name_the_flag() {
    let folder = Folder::new();
    let cases: [(&str, &[&str]); 21] = [
        ("--dsa", &["--dsa-start-layer: ", "layer 7", "last layer is 3", "without, it is 7"]),
        ("--dsa --dsa-start-layer 4", &["--dsa-start-layer: ", "layer 4", "last layer is 3"]),
        ("--dsa --dsa-start-layer 0 --dsa-ratio 0", &["--dsa-ratio: 0 is no share"]),
        ("--dsa --dsa-start-layer 0 --dsa-ratio nan", &["--dsa-ratio: NaN"]),
        ("--dsa --dsa-start-layer 0 --dsa-ratio 1.5", &["--dsa-ratio: 1.5"]),
        ("--dsa --dsa-start-layer 0 --dsa-local 0", &["--dsa-local: 0 is not within"]),
        (
            "--dsa --dsa-start-layer 0 --dsa-local 513",
            &["--dsa-local 513", "512 tokens of --seq-len"],
        ),
        ("--dsa --dsa-start-layer 0 --dsa-indexer-heads 0", &["--dsa-indexer-heads: 0"]),
        ("--dsa --dsa-start-layer 0 --dsa-indexer-dim 0", &["--dsa-indexer-dim: 0"]),
        (
            "--engram --engram-layers 0,4",
            &["--engram-layers: \"4\" is no layer", "0 to 3", "-1 to -4"],
        ),
        ("--engram --engram-layers 3,-1", &["--engram-layers: layer 3 is named twice"]),
        ("--engram --engram-layers all", &["--engram-layers", "expected whole numbers"]),
        ("--engram --engram-orders 2,0", &["--engram-orders: 0 is not within"]),
        ("--engram --engram-orders -2", &["--engram-orders are counts, not -2"]),
        ("--engram --engram-dropout 1", &["--engram-dropout: 1 is no share"]),
        ("--engram --engram-dropout -0.1", &["--engram-dropout: -0.1"]),
        ("--mhc --mhc-iters 0", &["--mhc-iters: 0 is not within"]),
        ("--mhc --mhc-temperature 0", &["--mhc-temperature: 0 is not a positive number"]),
        ("--mhc --mhc-epsilon 1", &["--mhc-epsilon: 1 is not between 0 and 1"]),
        ("--mhc --mhc-alpha nan", &["--mhc-alpha: NaN"]),
        ("--mtp --mtp-lambda -1", &["--mtp-lambda: -1"]),
    ];
    for (flags, parts) in cases {
        plan(&folder, flags).fails(2, parts);
    }
    plan(&folder, "--window-pattern SLX").fails(2, &["--window-pattern: \"SLX\""]);
    plan(&folder, "--n-kv-head 3").fails(2, &["--n-kv-head: 3"]);
}

/// What the help says of a flag, in one line.
fn help_on(help: &str, flag: &str) -> String {
    let begins = |line: &&str| line.trim_start().starts_with(&format!("{flag} "));
    let mut lines = help.lines().skip_while(|line| !begins(line));
    let first = lines.next().unwrap_or_else(|| panic!("no help on {flag}"));
    let rest = lines.take_while(|line| !line.trim_start().starts_with('-') && !line.ends_with(':'));
    let words: Vec<&str> =
        first.split_whitespace().chain(rest.flat_map(str::split_whitespace)).collect();
    words.join(" ")
}

#[test]
fn help_has_every_flag_with_its_default() {
    let ran = Folder::new().run("train --help");
    let help = ran.success();
    for heading in [
        "Engram:",
        "Branch mixing (mHC):",
        "Multi-token prediction (MTP):",
        "Sparse attention (DSA):",
    ] {
        assert!(help.contains(&format!("\n{heading}\n")), "{heading} is not in the help");
    }
    let defaults = [
        ("--preset", "engram"),
        ("--engram", "of the preset"),
        ("--engram-layers", "0,-1"),
        ("--engram-orders", "2,3,4"),
        ("--engram-bottleneck", "a quarter of the model's"),
        ("--engram-dropout", "0"),
        ("--mhc", "false"),
        ("--mhc-iters", "5"),
        ("--mhc-temperature", "1"),
        ("--mhc-epsilon", "1e-6"),
        ("--mhc-alpha", "1"),
        ("--mtp", "false"),
        ("--mtp-lambda", "0.3"),
        ("--dsa", "false"),
        ("--dsa-start-layer", "7"),
        ("--dsa-ratio", "0.5"),
        ("--dsa-local", "128"),
        ("--dsa-indexer-heads", "16"),
        ("--dsa-indexer-dim", "32"),
        ("--checkpoint-blocks", "false"),
    ];
    for (flag, default) in defaults {
        let said = help_on(help, flag);
        assert!(said.contains(&format!("[default: {default}]")), "{said}");
    }
}
