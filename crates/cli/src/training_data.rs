//! The documents of a run: opened, and what is wrong with them told.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kiln_data::{
    Folder, LoaderState, LocalFolder, Mixture, Schema, Source, SourceOptions, StreamOptions,
    StreamState,
};
use kiln_store::Location;
use kiln_train::config::TrainSettings;

use crate::location::Paths;
use crate::output::{Console, printable};
use crate::remote_shards::RemoteShards;

/// Between two looks at a folder in an object store, where each is a request that somebody pays for.
const REMOTE_POLL: Duration = Duration::from_secs(2);

/// Opens what a run trains on. `paths` finds it, wherever it lies; `saved` is where the run stood, if it goes on.
pub fn open(
    train: &TrainSettings,
    paths: &mut Paths<'_>,
    saved: Option<&LoaderState>,
    console: &Console,
) -> anyhow::Result<Mixture> {
    let options = SourceOptions {
        schema: Schema::Text { field: train.field.clone() },
        validation_share: train.validation_share,
        strict: train.strict,
        ..SourceOptions::default()
    };
    let mut sets = Vec::with_capacity(train.data.len());
    for (at, set) in train.data.iter().enumerate() {
        let source = if train.stream {
            let patience = Duration::from_secs(train.stream_patience);
            let stream = saved.and_then(|saved| saved.sets.get(at)?.stream.as_deref());
            open_stream(&set.path, &options, patience, stream, console)?
        } else {
            Source::open(&paths.local(&set.path)?, &options)?
        };
        sets.push((tell(source, console), set.weight));
    }
    let mixture = Mixture::new(sets)?;
    let Some(pairs) = &train.pairs else { return Ok(mixture) };
    let options = SourceOptions { schema: Schema::Pairs, ..options };
    let source = tell(Source::open(&paths.local(pairs)?, &options)?, console);
    Ok(mixture.with(source, train.pairs_share)?)
}

fn open_stream(
    path: &Path,
    options: &SourceOptions,
    patience: Duration,
    saved: Option<&StreamState>,
    console: &Console,
) -> anyhow::Result<Source> {
    let mut stream = StreamOptions { patience, ..StreamOptions::default() };
    let folder: Arc<dyn Folder> = match Location::parse(path)? {
        Location::Local(path) => Arc::new(LocalFolder::new(&path)?),
        location => {
            stream.poll = REMOTE_POLL;
            Arc::new(RemoteShards::new(location)?)
        }
    };
    let mut tell = |message: String| console.note(printable(&message));
    Ok(Source::open_stream(folder, options, &stream, saved, &mut tell)?)
}

/// Tells what is wrong with documents.
fn tell(source: Source, console: &Console) -> Arc<Source> {
    let report = source.report();
    // Of one alone the warning below says all.
    if report.problem_count > 1 {
        report.problems.iter().for_each(|problem| console.warn(printable(&problem.to_string())));
    }
    if report.skipped.len() > 1 {
        for file in &report.skipped {
            let message = format!("{}: {}", file.path.display(), file.why);
            console.warn(printable(&message));
        }
    }
    report.warnings.iter().for_each(|warning| console.warn(printable(warning)));
    Arc::new(source)
}
