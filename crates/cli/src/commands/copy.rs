//! `kiln copy`: files between this machine and object stores.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use kiln_store::{Kind, Location, Store};

use crate::error::Advised;
use crate::location::{Paths, store};
use crate::output::{Console, count};

/// Copy a file or a folder between this machine and object stores
///
/// FROM and TO are paths, or s3://, gs://, az:// or file:// URLs; FROM may be an http(s):// URL, too. Of a folder, the files
/// that complete it (`MANIFEST`, `tokenizer.json`, `_COMPLETE`, `latest`) are written last. What is at TO already stays where
/// FROM has nothing of the same name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln copy run s3://bucket/run
  kiln copy gs://bucket/documents documents
  kiln copy https://example.org/documents.jsonl.zst documents.jsonl.zst")]
pub struct CopyArgs {
    /// What to copy
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// What to make of it
    #[arg(value_name = "TO")]
    to: PathBuf,
}

/// Copies.
pub fn run(args: &CopyArgs, console: &Console) -> anyhow::Result<()> {
    let store = store();
    let to = Location::parse(&args.to)?;
    let mut paths = Paths::new(console);
    let from = paths.local(&args.from)?;
    let files = match store.kind(&Location::Local(from.clone()))? {
        Some(Kind::Folder) => copy_folder(&store, &from, &to, console)?,
        Some(Kind::File) => {
            store.put_file(&from, &to)?;
            1
        }
        None => {
            let message = format!("there is nothing at {}", args.from.display());
            return Err(Advised::new(message, "FROM comes first, TO last").into());
        }
    };
    let what = if files == 1 { "1 file".to_owned() } else { format!("{} files", count(files)) };
    console.note(format_args!("copied {what} to {to}"));
    Ok(())
}

fn copy_folder(
    store: &Store,
    from: &Path,
    to: &Location,
    console: &Console,
) -> anyhow::Result<u64> {
    let entries = store.list(&Location::Local(from.to_owned()))?;
    let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    let bar = console.progress_count("writing files", names.len() as u64);
    let copied = store.put_tree(from, &names, to, &mut |p| bar.set(p.files, p.total_files));
    drop(bar);
    copied.with_context(|| format!("{} is copied in part", from.display()))?;
    Ok(names.len() as u64)
}
