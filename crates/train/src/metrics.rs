//! `metrics.jsonl`: what a run measured, one JSON object per line, for machines.
//!
//! Two kinds of lines (the first is broken here), told apart by `loss` and `val_bpb`:
//!
//! ```text
//! {"step":99,"loss":2.3025851,"lr_multiplier":1.0,"tokens":1638400,"tokens_per_second":8520.5,"mfu":0.61,
//!  "data_stall":0.002,"batch":"09af…"}
//! {"step":100,"val_bpb":1.93,"seconds":192.5}
//! ```
//!
//! With multi-token prediction a step's line also has `mtp_loss`, that of the token after the next; `loss` is of the next
//! token alone, as without it. A step's line has the step's number counted from 0; an evaluation's line the number of steps
//! done before it. The checkpoint `step-000100` is saved when 100 steps are done (0 to 99), before
//! the evaluation at that point. Resuming from it runs step 100 next, after evaluating again where
//! an evaluation was due, which gives the same figure. Hence the one rule: **resuming at step S
//! drops every line, of either kind, whose step is S or more**, and each step stands once, as in a
//! run that was never interrupted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable::write_atomically;
use crate::observe::StepReport;

/// The file's name in the run folder.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// A step's line. serde_json writes a float as the shortest decimal that reads back to the same bits
/// of its own type, so `loss` stays f32 up to here; one that is not finite becomes `null`.
#[derive(Serialize)]
struct StepLine<'a> {
    step: u64,
    loss: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtp_loss: Option<f32>,
    lr_multiplier: f64,
    tokens: u64,
    tokens_per_second: f64,
    mfu: f64,
    data_stall: f64,
    batch: &'a str,
}

/// An evaluation's line.
#[derive(Serialize)]
struct EvaluationLine {
    step: u64,
    val_bpb: f64,
    seconds: f64,
}

/// Why a run's metrics could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct MetricsError {
    /// The path of `metrics.jsonl`.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Appends to a run's `metrics.jsonl`. A line is one write, so that whoever follows the file, or
/// kills the run, finds whole lines; and it is with the system when the call returns.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines in the file.
    length: u64,
    dropped: usize,
}

impl Metrics {
    /// Opens the file of a run whose next step is `next_step`, creating folder and file if they are
    /// missing. Lines of that and later steps are dropped, and so are lines that are no metrics: a
    /// kill can tear the last one. `next_step` 0 begins anew.
    ///
    /// # Errors
    ///
    /// [`MetricsError`]; then the file is as it was.
    pub fn open(run: &Path, next_step: u64) -> Result<Self, MetricsError> {
        let path = run.join(METRICS_FILE);
        let opened = (|| {
            fs::create_dir_all(run)?;
            let dropped = drop_from(&path, next_step)?;
            let file = OpenOptions::new().append(true).create(true).open(&path)?;
            let length = file.metadata()?.len();
            Ok((file, length, dropped))
        })();
        match opened {
            Ok((file, length, dropped)) => Ok(Self { path, file, length, dropped }),
            Err(source) => Err(MetricsError { path, source }),
        }
    }

    /// Number of lines that opening dropped.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Appends the line of a step. `batch` is a hash of the step's token ids, which shows whether two
    /// runs saw the same ones.
    ///
    /// # Errors
    ///
    /// [`MetricsError`], on a full disk for example; no part of the line stays in the file.
    pub fn step(&mut self, report: &StepReport, batch: &str) -> Result<(), MetricsError> {
        self.append(&step_line(report, batch))
    }

    /// Appends the line of an evaluation after `step` steps and so many seconds of training.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn evaluation(
        &mut self,
        step: u64,
        val_bpb: f64,
        seconds: f64,
    ) -> Result<(), MetricsError> {
        self.append(&EvaluationLine { step, val_bpb, seconds })
    }

    /// Makes all lines last on the disk. To be called before saving a checkpoint: after a power
    /// failure a run must not resume behind lines that were lost.
    ///
    /// # Errors
    ///
    /// [`MetricsError`].
    pub fn sync(&mut self) -> Result<(), MetricsError> {
        self.file.sync_data().map_err(|source| self.error(source))
    }

    fn append(&mut self, record: &impl Serialize) -> Result<(), MetricsError> {
        let mut line = serde_json::to_vec(record).map_err(|error| self.error(error.into()))?;
        line.push(b'\n');
        match write_once(&mut self.file, &line) {
            Ok(()) => {
                self.length += line.len() as u64;
                Ok(())
            }
            Err(source) => {
                // The next line would be glued to what was written of this one.
                let _ = self.file.set_len(self.length);
                Err(self.error(source))
            }
        }
    }

    fn error(&self, source: io::Error) -> MetricsError {
        MetricsError { path: self.path.clone(), source }
    }
}

fn step_line<'a>(report: &StepReport, batch: &'a str) -> StepLine<'a> {
    StepLine {
        step: report.step,
        loss: report.loss,
        mtp_loss: report.mtp_loss,
        lr_multiplier: report.lr_multiplier,
        tokens: report.tokens,
        tokens_per_second: report.tokens_per_second,
        mfu: report.mfu,
        data_stall: report.data_stall,
        batch,
    }
}

fn write_once(file: &mut File, line: &[u8]) -> io::Result<()> {
    loop {
        match file.write(line) {
            Ok(count) if count == line.len() => return Ok(()),
            Ok(_) => return Err(ErrorKind::StorageFull.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Rewrites the file without the lines from `next_step` on and those that are no metrics; returns
/// how many there were.
fn drop_from(path: &Path, next_step: u64) -> io::Result<usize> {
    let old = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        old => old?,
    };
    let mut kept = Vec::with_capacity(old.len());
    let mut dropped = 0;
    for line in old.split_inclusive(|byte| *byte == b'\n') {
        let is_whole = line.ends_with(b"\n");
        if is_whole && step_of(line).is_some_and(|step| step < next_step) {
            kept.extend_from_slice(line);
        } else {
            dropped += 1;
        }
    }
    if dropped > 0 {
        write_atomically(path, &kept)?;
    }
    Ok(dropped)
}

/// Bits per byte of the evaluation after so many steps, if a run's metrics have one.
///
/// # Errors
///
/// [`MetricsError`] if the file cannot be read.
pub fn evaluation_at(run: &Path, step: u64) -> Result<Option<f64>, MetricsError> {
    #[derive(Deserialize)]
    struct Line {
        step: u64,
        val_bpb: f64,
    }
    let path = run.join(METRICS_FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(MetricsError { path, source }),
    };
    let lines = text.split(|byte| *byte == b'\n').rev();
    let mut evaluations = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    Ok(evaluations.find(|line| line.step == step).map(|line| line.val_bpb))
}

fn step_of(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Line {
        step: u64,
    }
    serde_json::from_slice::<Line>(line).ok().map(|line| line.step)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn report(step: u64) -> StepReport {
        StepReport {
            step,
            total: None,
            mtp_loss: None,
            loss: 2.0 + step as f32 / 3.0,
            lr_multiplier: 0.5,
            tokens: 64 * (step + 1),
            tokens_per_second: 8520.5,
            mfu: 0.625,
            data_stall: 0.0,
            eta: None,
        }
    }

    /// Steps `steps`, with an evaluation before every fifth.
    fn write(metrics: &mut Metrics, steps: std::ops::Range<u64>) {
        for step in steps {
            if step % 5 == 0 {
                metrics.evaluation(step, 1.0 / (step + 1) as f64, step as f64).unwrap();
            }
            metrics.step(&report(step), "09af").unwrap();
        }
    }

    fn read(run: &Path) -> String {
        fs::read_to_string(run.join(METRICS_FILE)).unwrap()
    }

    #[test]
    fn lines_have_the_fields_that_others_rely_on() {
        let run = tempfile::tempdir().unwrap();
        let mut writer = Metrics::open(run.path(), 0).unwrap();
        writer.step(&StepReport { loss: 0.1, ..report(99) }, "09af").unwrap();
        writer.evaluation(100, 1.25, 192.5).unwrap();
        writer.sync().unwrap();
        assert_eq!(
            read(run.path()),
            concat!(
                r#"{"step":99,"loss":0.1,"lr_multiplier":0.5,"tokens":6400,"#,
                r#""tokens_per_second":8520.5,"mfu":0.625,"data_stall":0.0,"batch":"09af"}"#,
                "\n",
                r#"{"step":100,"val_bpb":1.25,"seconds":192.5}"#,
                "\n"
            )
        );
    }

    #[test]
    fn losses_read_back_to_the_same_bits_and_are_shortest() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let special =
            [f32::MIN_POSITIVE, f32::MAX, f32::from_bits(1), 0.1, 1e-7, 16_777_216.0, -0.0];
        let mut checked = 0;
        for loss in
            special.into_iter().chain((0..200_000).map(|_| f32::from_bits(random.next_u32())))
        {
            if !loss.is_finite() {
                continue;
            }
            let text = loss_text(loss);
            // As Rust reads it, and as Python does: through f64.
            assert_eq!(text.parse::<f32>().unwrap().to_bits(), loss.to_bits(), "{text}");
            assert_eq!((text.parse::<f64>().unwrap() as f32).to_bits(), loss.to_bits(), "{text}");
            // Rust's own shortest form has as many digits.
            let digits = |text: &str| {
                let mantissa = text.split('e').next().unwrap().replace(['.', '-'], "");
                mantissa.trim_start_matches('0').trim_end_matches('0').len()
            };
            assert_eq!(digits(&text), digits(&format!("{loss:e}")), "{text}");
            checked += 1;
        }
        assert!(checked > 190_000);
    }

    #[test]
    fn a_loss_that_is_not_finite_is_null() {
        assert_eq!(loss_text(f32::NAN), "null");
        assert_eq!(loss_text(f32::NEG_INFINITY), "null");
    }

    /// A loss as it stands in a step's line.
    fn loss_text(loss: f32) -> String {
        let report = StepReport { loss, ..report(0) };
        let line = serde_json::to_string(&step_line(&report, "")).unwrap();
        line.split("\"loss\":").nth(1).unwrap().split(',').next().unwrap().to_owned()
    }

    #[test]
    fn resumed_metrics_equal_uninterrupted_ones() {
        let whole = tempfile::tempdir().unwrap();
        write(&mut Metrics::open(whole.path(), 0).unwrap(), 0..20);
        let run = tempfile::tempdir().unwrap();
        write(&mut Metrics::open(run.path(), 0).unwrap(), 0..14);
        // Killed after step 13, resumed from step-000010: four steps and an evaluation go.
        let mut writer = Metrics::open(run.path(), 10).unwrap();
        assert_eq!(writer.dropped(), 5);
        write(&mut writer, 10..20);
        assert_eq!(read(run.path()), read(whole.path()));
        assert_eq!(Metrics::open(run.path(), 20).unwrap().dropped(), 0);
    }

    #[test]
    fn a_torn_last_line_is_dropped_wherever_it_was_cut() {
        let whole = tempfile::tempdir().unwrap();
        write(&mut Metrics::open(whole.path(), 0).unwrap(), 0..3);
        let text = read(whole.path());
        let kept = text.trim_end().rfind('\n').unwrap() + 1;
        for end in kept + 1..text.len() {
            let run = tempfile::tempdir().unwrap();
            fs::write(run.path().join(METRICS_FILE), &text[..end]).unwrap();
            let writer = Metrics::open(run.path(), 100).unwrap();
            assert_eq!((writer.dropped(), read(run.path())), (1, text[..kept].to_owned()));
        }
    }

    #[test]
    fn lines_that_are_no_metrics_are_dropped() {
        let run = tempfile::tempdir().unwrap();
        let good = "{\"step\":0,\"loss\":1.0}\n";
        let bad = "\n{}\n[1]\n{\"step\":-1}\n{\"step\":\"0\"}\n{\"step\":1.5}\nnull\n\u{fffd}\n";
        let content = [good.as_bytes(), bad.as_bytes(), b"\xff\xfe\0\n"].concat();
        fs::write(run.path().join(METRICS_FILE), content).unwrap();
        assert_eq!(Metrics::open(run.path(), 1).unwrap().dropped(), 9);
        assert_eq!(read(run.path()), good);
    }

    #[test]
    fn beginning_anew_drops_all_and_leaves_no_other_file() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("new/run");
        write(&mut Metrics::open(&folder, 0).unwrap(), 0..3);
        fs::write(folder.join(".metrics.jsonl.tmp"), "left by a kill").unwrap();
        assert_eq!(Metrics::open(&folder, 0).unwrap().dropped(), 4);
        assert_eq!(read(&folder), "");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_line_appears_at_once() {
        let run = tempfile::tempdir().unwrap();
        let mut writer = Metrics::open(run.path(), 0).unwrap();
        for number in 0..4 {
            writer.step(&report(number), "").unwrap();
            assert_eq!(read(run.path()).lines().count() as u64, number + 1);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let run = tempfile::tempdir().unwrap();
        let mut writer = Metrics::open(run.path(), 0).unwrap();
        writer.file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let error = writer.step(&report(0), "").unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::StorageFull);
        assert!(error.to_string().contains("metrics.jsonl: No space left"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let run = tempfile::tempdir().unwrap();
        fs::create_dir(run.path().join(METRICS_FILE)).unwrap();
        let error = Metrics::open(run.path(), 0).unwrap_err();
        assert!(error.to_string().contains("metrics.jsonl"), "{error}");
    }
}
