//! The `kiln` binary as users and scripts see it. One file for each command, one binary for all.

mod corpus;
mod frame;
mod kiln;
mod shards;
mod tokenizer;
