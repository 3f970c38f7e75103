//! Data that are still being written: files are taken up one by one while training goes on.
//!
//! A file is used once it is whole, and files are taken up in the order of their names, each when the one before is
//! used up; only one that is certainly half-written is passed over until it is whole. So where a writer gives its
//! files their names in that order, and when they are whole, the time when each appeared makes no difference.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::error::DataError;
use crate::shard::{Shard, Unreadable, is_parquet};
use crate::source::folder::{FolderEntry, Listing};
use crate::source::hold_out::HoldOut;
use crate::source::{Folder, Opener, Source, SourceOptions, SourceReport};
use crate::state::StreamState;

/// A file without a newline at its end is given so many times longer to grow.
const UNTERMINATED: u32 = 5;

/// How a stream is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// It is an error when nothing has changed in the folder for so long and `_COMPLETE` is not there.
    pub patience: Duration,
    /// Time between two looks at the folder.
    pub poll: Duration,
    /// A JSONL file counts as whole when it has not changed for so long. A Parquet file's end tells.
    pub settle: Duration,
}

impl Default for StreamOptions {
    /// Ten minutes of patience, two looks a second, two seconds to settle.
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(600),
            poll: Duration::from_millis(500),
            settle: Duration::from_secs(2),
        }
    }
}

/// Whoever waits with a stream: is told why, and says whether to go on waiting.
pub(crate) trait Patience {
    fn tell(&mut self, message: String);
    fn goes_on(&mut self) -> bool;
}

/// What all who follow a stream have in common.
pub(crate) struct Stream {
    folder: Arc<dyn Folder>,
    opener: Opener,
    options: StreamOptions,
    /// Which documents are never trained on; all are, where files of their own are for validation.
    hold_out: Option<HoldOut>,
    /// Names of the files for validation.
    validation: Vec<String>,
}

impl Source {
    /// Opens a folder to which files are still being added. Waits for the first of them.
    ///
    /// Files called `validation` that are there by then are for validation. Without one, `validation_share` of all
    /// documents is held out by content, and those of the first file are the validation documents. `saved` is the
    /// state of a run that goes on; it has made these choices. `tell` is called with what is waited for.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and [`DataError::NoMoreShards`] when no file appears.
    pub fn open_stream(
        folder: Arc<dyn Folder>,
        options: &SourceOptions,
        stream: &StreamOptions,
        saved: Option<&StreamState>,
        tell: &mut dyn FnMut(String),
    ) -> Result<Self, DataError> {
        options.check()?;
        let mut patience = Teller(tell);
        let mut stream = Stream {
            folder,
            opener: Opener::new(options),
            options: stream.clone(),
            hold_out: None,
            validation: Vec::new(),
        };
        let mut first = stream.first(saved, &mut patience)?;
        let mut validation = Vec::new();
        if *first.schema() != crate::record::Schema::Pairs {
            stream.validation = match saved {
                Some(saved) => saved.validation.clone(),
                None => Listing::of(stream.folder.as_ref())?
                    .validation
                    .into_iter()
                    .map(|e| e.name)
                    .collect(),
            };
            for name in &stream.validation {
                let mut shard = stream.wait_for(name, &mut patience)?;
                shard.hold_out_all();
                validation.push(shard);
            }
            if validation.is_empty() {
                stream.hold_out = Some(HoldOut::share(options.validation_share));
                stream.divide(&mut first);
            }
        }
        let path = stream.folder.location().to_owned();
        let mut source =
            Self::build(&path, options, vec![first], validation, SourceReport::default())?;
        source.stream = Some(stream);
        Ok(source)
    }
}

impl Stream {
    pub(crate) fn validation(&self) -> &[String] {
        &self.validation
    }

    pub(crate) fn location(&self) -> &Path {
        self.folder.location()
    }

    /// A file that was taken up before.
    pub(crate) fn reopen(&self, name: &str) -> Result<Shard, DataError> {
        let path = self.opener.path(self.folder.as_ref(), name);
        let opened = self.opener.try_open(self.folder.as_ref(), name);
        let mut shard = opened.map_err(|unreadable| unreadable.into_error(&path))?;
        self.divide(&mut shard);
        Ok(shard)
    }

    fn divide(&self, shard: &mut Shard) {
        if let Some(rule) = self.hold_out {
            shard.hold_out(|hash| rule.takes(hash));
        }
    }

    fn first(
        &self,
        saved: Option<&StreamState>,
        patience: &mut dyn Patience,
    ) -> Result<Shard, DataError> {
        if let Some(first) = saved.and_then(|saved| saved.shards.first()) {
            return self.reopen(&first.file.name);
        }
        let found = TakeUp::default().next(self, &HashSet::new(), patience)?;
        found.ok_or_else(|| DataError::NoFiles { path: self.folder.location().to_owned() })
    }

    /// A file that is there but may not be whole yet.
    fn wait_for(&self, name: &str, patience: &mut dyn Patience) -> Result<Shard, DataError> {
        let choose = |listing: &Listing| -> Vec<FolderEntry> {
            listing.validation.iter().filter(|entry| entry.name == name).cloned().collect()
        };
        let found = TakeUp::default().wait(self, &choose, patience)?;
        found.ok_or_else(|| DataError::Missing { path: self.folder.location().join(name) })
    }
}

/// What one follower of a stream has seen of the files that it has not taken up.
#[derive(Default)]
pub(crate) struct TakeUp {
    seen: HashMap<String, Sighting>,
    /// Files that are finished and cannot be read.
    skipped: HashSet<String>,
}

struct Sighting {
    entry: FolderEntry,
    since: Instant,
    /// Why it seems to be half-written, as it is now.
    unfinished: Option<String>,
}

/// What a look at a file shows.
enum Look {
    Whole(Box<Shard>),
    /// It may be whole: the files behind it wait until that is known.
    Settling,
    /// It is half-written, or finished and damaged.
    Unusable,
}

impl TakeUp {
    /// The next whole file in the order of names that is not among those `taken`; `None` when there will be no more.
    pub(crate) fn next(
        &mut self,
        stream: &Stream,
        taken: &HashSet<String>,
        patience: &mut dyn Patience,
    ) -> Result<Option<Shard>, DataError> {
        let choose = |listing: &Listing| -> Vec<FolderEntry> {
            listing.shards.iter().filter(|entry| !taken.contains(&entry.name)).cloned().collect()
        };
        let found = self.wait(stream, &choose, patience)?;
        Ok(found.map(|mut shard| {
            stream.divide(&mut shard);
            shard
        }))
    }

    fn wait(
        &mut self,
        stream: &Stream,
        choose: &dyn Fn(&Listing) -> Vec<FolderEntry>,
        patience: &mut dyn Patience,
    ) -> Result<Option<Shard>, DataError> {
        let mut quiet_since = Instant::now();
        let mut told = false;
        loop {
            let listing = Listing::of(stream.folder.as_ref())?;
            let candidates = choose(&listing);
            if self.look(&candidates) {
                quiet_since = Instant::now();
            }
            for entry in &candidates {
                match self.open(stream, entry, listing.complete, patience)? {
                    Look::Whole(shard) => return Ok(Some(*shard)),
                    Look::Settling => break,
                    Look::Unusable => {}
                }
            }
            if listing.complete {
                return Ok(None);
            }
            let quiet = quiet_since.elapsed();
            if quiet >= stream.options.patience {
                return Err(DataError::NoMoreShards {
                    path: stream.folder.location().to_owned(),
                    seconds: quiet.as_secs(),
                    unfinished: self.unfinished(),
                });
            }
            if !told && quiet >= 2 * stream.options.settle {
                patience.tell(self.describe(stream));
                told = true;
            }
            sleep(stream.options.poll, patience)?;
        }
    }

    /// Notes what has changed since the last look; whether anything has.
    fn look(&mut self, candidates: &[FolderEntry]) -> bool {
        let mut changed = false;
        for entry in candidates {
            if self.seen.get(&entry.name).is_none_or(|sighting| sighting.entry != *entry) {
                changed = true;
                let sighting =
                    Sighting { entry: entry.clone(), since: Instant::now(), unfinished: None };
                self.seen.insert(entry.name.clone(), sighting);
            }
        }
        changed
    }

    /// Opens a file if it is whole. What is `finished` and is not is left out for good.
    fn open(
        &mut self,
        stream: &Stream,
        entry: &FolderEntry,
        finished: bool,
        patience: &mut dyn Patience,
    ) -> Result<Look, DataError> {
        let Some(sighting) = self.seen.get_mut(&entry.name) else { return Ok(Look::Unusable) };
        let half_written = sighting.unfinished.is_some() || entry.bytes == 0;
        if self.skipped.contains(&entry.name) || !finished && half_written {
            return Ok(Look::Unusable);
        }
        if !finished && !has_settled(stream, sighting)? {
            return Ok(Look::Settling);
        }
        let why = match stream.opener.try_open(stream.folder.as_ref(), &entry.name) {
            Ok(shard) => {
                self.seen.remove(&entry.name);
                tell_problems(&shard, patience);
                return Ok(Look::Whole(Box::new(shard)));
            }
            Err(Unreadable::Content(why)) => why,
            // A compressed file that ends in the middle.
            Err(Unreadable::Other(DataError::Io { source, .. })) => source.to_string(),
            Err(Unreadable::Other(error)) => return Err(error),
        };
        if !finished {
            sighting.unfinished = Some(why);
            return Ok(Look::Unusable);
        }
        let path = stream.opener.path(stream.folder.as_ref(), &entry.name);
        if stream.opener.options.strict {
            return Err(DataError::Corrupt { path, why });
        }
        self.skipped.insert(entry.name.clone());
        let count = self.skipped.len();
        let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        patience.tell(format!(
            "{} cannot be read and was skipped: {why} ({files} in all)",
            path.display()
        ));
        Ok(Look::Unusable)
    }

    fn unfinished(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .seen
            .values()
            .filter_map(|s| Some(format!("{} ({})", s.entry.name, s.unfinished.as_ref()?)))
            .collect();
        names.sort_unstable();
        names
    }

    fn describe(&self, stream: &Stream) -> String {
        let unfinished = self.unfinished();
        let seconds = stream.options.patience.as_secs();
        let half = if unfinished.is_empty() {
            String::new()
        } else {
            format!("; half-written: {}", unfinished.join(", "))
        };
        let path = stream.folder.location().display();
        format!("waiting for more files in {path}, for up to {seconds} seconds of silence{half}")
    }
}

fn tell_problems(shard: &Shard, patience: &mut dyn Patience) {
    if let Some(first) = shard.found.problems.first() {
        let count = shard.found.problem_count;
        patience
            .tell(format!("{count} lines are no documents and were skipped, the first: {first}"));
    }
}

/// Whether a file looks as if nobody were writing to it. A Parquet file's end shows it better than time.
fn has_settled(stream: &Stream, sighting: &Sighting) -> Result<bool, DataError> {
    let entry = &sighting.entry;
    if is_parquet(&entry.name) {
        return Ok(true);
    }
    let since_change = entry.modified.and_then(|at| SystemTime::now().duration_since(at).ok());
    let quiet = sighting.since.elapsed().max(since_change.unwrap_or_default());
    let settle = stream.options.settle;
    if quiet < settle {
        return Ok(false);
    }
    if quiet >= UNTERMINATED * settle || !entry.name.to_ascii_lowercase().ends_with(".jsonl") {
        return Ok(true);
    }
    let local = stream.folder.fetch(&entry.name)?;
    let last = || -> std::io::Result<u8> {
        let mut file = File::open(local.path())?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok(last[0])
    };
    Ok(last().map_err(DataError::io("read", local.path()))? == b'\n')
}

/// Sleeps in short naps, so that a request to stop is noticed.
fn sleep(time: Duration, patience: &mut dyn Patience) -> Result<(), DataError> {
    const NAP: Duration = Duration::from_millis(20);
    let begin = Instant::now();
    loop {
        if !patience.goes_on() {
            return Err(DataError::Stopped);
        }
        let left = time.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(NAP));
    }
}

/// Waits without end, for whoever cannot do anything else.
struct Teller<'a>(&'a mut dyn FnMut(String));

impl Patience for Teller<'_> {
    fn tell(&mut self, message: String) {
        (self.0)(message);
    }

    fn goes_on(&mut self) -> bool {
        true
    }
}
