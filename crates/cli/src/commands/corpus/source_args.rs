//! What the commands that read sources have in common.

use std::path::PathBuf;

use clap::Args;
use kiln_corpus::{DEFAULT_MAX_FILE_BYTES, DEFAULT_SKIP, OutputOptions, SourceFilter};

use crate::args::parse_bytes;

/// Which files are read.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Also skip folders of this name (`*` stands for any characters); repeat for more
    #[arg(long, value_name = "PATTERN")]
    skip: Vec<String>,
    #[arg(long, help = format!("Do not skip {}", DEFAULT_SKIP.join(", ")))]
    no_default_skip: bool,
    /// Skip larger files; takes suffixes k, M and G
    #[arg(long, value_name = "N", value_parser = parse_bytes, default_value_t = DEFAULT_MAX_FILE_BYTES)]
    max_file_bytes: u64,
}

impl FilterArgs {
    /// As the library wants it.
    pub fn into_filter(self) -> SourceFilter {
        let mut filter =
            SourceFilter { max_file_bytes: self.max_file_bytes, ..SourceFilter::default() };
        if self.no_default_skip {
            filter.skip.clear();
        }
        filter.skip.extend(self.skip);
        filter
    }
}

/// Where documents go as JSONL.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Folder to write; made if it is missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Start a new file after so many bytes of JSONL; takes suffixes k, M and G
    #[arg(long, value_name = "N", value_parser = parse_bytes)]
    shard_bytes: Option<u64>,
    /// Write .jsonl.zst instead of .jsonl
    #[arg(long)]
    compress: bool,
    /// Replace the finished documents in DIR
    #[arg(long)]
    overwrite: bool,
}

impl OutputArgs {
    /// As the library wants it.
    pub fn into_options(self) -> OutputOptions {
        OutputOptions {
            out: self.out,
            compress: self.compress,
            shard_bytes: self.shard_bytes,
            overwrite: self.overwrite,
        }
    }
}
