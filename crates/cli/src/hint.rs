//! What to do about a failure, where something can be said.

use std::io;

use kiln_corpus::{CorpusError, EXTENSIONS};
use kiln_data::DataError;
use kiln_model::ConfigError;
use kiln_optim::OptimError;
use kiln_store::StoreError;
use kiln_tokenizer::{Error as TokenizerError, TOKENIZER_FILE};
use kiln_train::TrainError;
use kiln_train::checkpoint::CheckpointError;

/// Advice on one cause of a failure.
pub fn of(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    let corpus = cause.downcast_ref().and_then(corpus);
    let tokenizer = || cause.downcast_ref().and_then(tokenizer);
    let data = || cause.downcast_ref().and_then(data);
    let train = || cause.downcast_ref().and_then(train);
    let checkpoint = || cause.downcast_ref().and_then(checkpoint);
    let settings = || settings(cause);
    let store = || cause.downcast_ref::<StoreError>().and_then(StoreError::hint);
    corpus
        .or_else(store)
        .or_else(tokenizer)
        .or_else(data)
        .or_else(train)
        .or_else(checkpoint)
        .or_else(settings)
}

fn corpus(error: &CorpusError) -> Option<String> {
    match error {
        CorpusError::OutputFinished { .. } => Some("--overwrite replaces it".to_owned()),
        CorpusError::CannotAppend { .. } => {
            Some("another --out begins a new set; --overwrite replaces this one".to_owned())
        }
        CorpusError::NoSourceFiles { .. } => Some(format!(
            "source files end in .{}; some folder names are skipped, see `kiln corpus files --help`",
            EXTENSIONS.join(" .")
        )),
        CorpusError::SourceNotFolder { .. } => {
            Some("give the folder that holds the file".to_owned())
        }
        CorpusError::InputMissing { .. }
        | CorpusError::InputUnknown { .. }
        | CorpusError::NoInputFiles { .. } => {
            Some("`kiln corpus files SRC --out DIR` makes documents of source files".to_owned())
        }
        CorpusError::InputDamaged { .. } => {
            Some("without --strict such files and lines are counted and passed over".to_owned())
        }
        CorpusError::SourcesOverlap { .. } => Some("leave out one of them".to_owned()),
        _ => None,
    }
}

fn tokenizer(error: &TokenizerError) -> Option<String> {
    match error {
        TokenizerError::VocabTooLarge { available, .. } => {
            Some(format!("--vocab-size {available} or less works; more data allows more"))
        }
        TokenizerError::VocabTooSmall { minimum, .. } => {
            Some(format!("--vocab-size {minimum} is the least; 4096 to 65536 is usual"))
        }
        TokenizerError::Io { path, source }
            if source.kind() == io::ErrorKind::NotFound && path.ends_with(TOKENIZER_FILE) =>
        {
            Some("`kiln tokenizer train --data PATH --out DIR` makes a tokenizer".to_owned())
        }
        _ => None,
    }
}

fn data(error: &DataError) -> Option<String> {
    match error {
        DataError::Missing { .. }
        | DataError::NoFiles { .. }
        | DataError::UnknownFormat { .. }
        | DataError::NoDocuments { .. } => {
            Some("`kiln corpus files SRC --out DIR` makes documents of source files".to_owned())
        }
        DataError::BadLine(_) => {
            Some("without --strict such lines are counted and skipped".to_owned())
        }
        DataError::Corrupt { .. } => {
            Some("with other files beside it and without --strict, it would be skipped".to_owned())
        }
        DataError::NoSentinels => Some(
            "--fim-rate and --pairs need a tokenizer of `kiln tokenizer train --kind cpp`".to_owned(),
        ),
        DataError::NoMoreShards { .. } => Some(
            "the same command goes on once there are more; --stream-patience waits longer, and without --stream what \
             is there is all"
                .to_owned(),
        ),
        DataError::NoTrainingDocuments { .. } => {
            Some("more documents, or a lower --validation-share".to_owned())
        }
        DataError::ResumeMismatch { .. } => Some(OTHER_RUN.to_owned()),
        DataError::BadOption { option, .. } => Some(sets(option)),
        _ => None,
    }
}

const OTHER_RUN: &str =
    "go on with what the run began with, or begin another one with another --out";

fn train(error: &TrainError) -> Option<String> {
    match error {
        // These stand for what they hold, which is no cause of its own then.
        TrainError::Checkpoint(error) => checkpoint(error),
        TrainError::Data(error) => data(error),
        TrainError::Tokenizer(error) => tokenizer(error),
        TrainError::Config(error) => settings(error),
        TrainError::Optim(error) => settings(error),
        TrainError::NoDrafts => Some(
            "a model trained with --mtp has it; `kiln train --init-from` adds it to one without"
                .to_owned(),
        ),
        TrainError::Occupied { .. } => {
            Some("--resume auto goes on with it; another --out begins another one".to_owned())
        }
        TrainError::OtherRun { .. } | TrainError::Vocabulary { .. } => Some(OTHER_RUN.to_owned()),
        TrainError::OtherShapes { .. } => Some(
            "flags of the model that are not given are as in the checkpoint; leave out those that change sizes".to_owned(),
        ),
        TrainError::BitsPerByte(_) => Some(
            "hold documents out: --validation-share, or a folder whose last file is for validation"
                .to_owned(),
        ),
        TrainError::Diverged { .. } => {
            Some("lower rates may help: --matrix-lr, --embedding-lr, --warmup-ratio".to_owned())
        }
        _ => None,
    }
}

fn checkpoint(error: &CheckpointError) -> Option<String> {
    match error {
        CheckpointError::Save { source, .. }
            if source.kind() != io::ErrorKind::PermissionDenied =>
        {
            Some(
                "earlier checkpoints are whole; the same command goes on from the newest"
                    .to_owned(),
            )
        }
        CheckpointError::NotFound { .. } | CheckpointError::NoCheckpoint { .. } => {
            Some("`kiln train --out RUN` makes a run and its checkpoints".to_owned())
        }
        CheckpointError::NoneValid { .. } => {
            Some("train anew with another --out, or bring the files back from a copy".to_owned())
        }
        _ => None,
    }
}

fn settings(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(ConfigError::Invalid { field, reason }) = cause.downcast_ref() {
        return Some(of_model(field, reason));
    }
    match cause.downcast_ref()? {
        OptimError::Setting { setting, .. } => Some(sets(setting)),
        OptimError::Batch { .. } => Some(
            "--total-batch-size counts tokens: a multiple of --device-batch-size x --seq-len"
                .to_owned(),
        ),
        _ => None,
    }
}

/// What may be done about a field of the model.
pub fn of_model(field: &str, reason: &str) -> String {
    match field {
        // What these gates read is too narrow; the flags of the same name only turn them off.
        "smear" | "value_embeds" if reason.contains("width") => {
            let off = flag(field);
            format!("--n-embd or --aspect-ratio widens the model; {off} false does without")
        }
        "n_embd" => "--n-embd sets it, or --depth and --aspect-ratio".to_owned(),
        "n_head" => "--n-head sets it; without, a divisor of the width is chosen".to_owned(),
        "dsa_start" => "--dsa-start-layer sets it; without, it is 7".to_owned(),
        _ => sets(field),
    }
}

/// Names the flag of a field.
fn sets(field: &str) -> String {
    format!("{} sets it", flag(field))
}

/// The flag of a field of the configuration.
pub fn flag(field: &str) -> String {
    let name = match field {
        "n_layer" => "depth",
        "sequence_len" => "seq-len",
        "rows" => "device-batch-size",
        "data weights" => "data",
        "engram" => "engram-layers",
        "dsa_start" => "dsa-start-layer",
        "indexer_heads" => "dsa-indexer-heads",
        "indexer_dim" => "dsa-indexer-dim",
        _ => field,
    };
    format!("--{}", name.replace([' ', '_'], "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_stand_for_others_have_the_others_advice() {
        let inner = || CheckpointError::NoCheckpoint { run: "r".into() };
        let advice = of(&inner());
        assert!(advice.is_some());
        assert_eq!(of(&TrainError::from(inner())), advice);
    }

    #[test]
    fn fields_are_told_as_flags() {
        let field = |field| ConfigError::Invalid { field, reason: String::new() };
        assert_eq!(of(&field("n_layer")).as_deref(), Some("--depth sets it"));
        assert_eq!(of(&field("window_pattern")).as_deref(), Some("--window-pattern sets it"));
        assert_eq!(of(&field("indexer_dim")).as_deref(), Some("--dsa-indexer-dim sets it"));
    }

    #[test]
    fn a_model_too_narrow_for_its_gates_is_to_be_widened() {
        for (field, flag) in [("smear", "--smear false"), ("value_embeds", "--value-embeds false")]
        {
            let reason = "needs a width of at least 24, not 8".to_owned();
            let advice = of(&ConfigError::Invalid { field, reason }).unwrap();
            assert!(advice.contains("--n-embd") && advice.contains(flag), "{advice}");
        }
    }
}
