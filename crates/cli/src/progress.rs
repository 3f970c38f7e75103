//! A run's progress on the terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kiln_train::observe::{Event, Observer, StepReport};

use crate::output::{Console, printable};

/// Where there is no terminal, a line is printed at most this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows a bar on a terminal, and lines elsewhere.
pub struct TrainingProgress<'a> {
    console: &'a Console,
    bar: ProgressBar,
    printed: Option<Instant>,
}

impl<'a> TrainingProgress<'a> {
    /// Progress on the console's terms.
    pub fn new(console: &'a Console) -> Self {
        let target = if console.is_quiet() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let style = ProgressStyle::with_template("{pos}/{len} [{wide_bar}] {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(None, target).with_style(style);
        TrainingProgress { console, bar, printed: None }
    }

    fn note(&self, message: &str) {
        self.bar.suspend(|| self.console.note(message));
    }

    fn step(&mut self, report: &StepReport) {
        if let Some(total) = report.total {
            self.bar.set_length(total);
        }
        self.bar.set_position(report.step + 1);
        let line = describe(report);
        self.bar.set_message(line.clone());
        let due = self.printed.is_none_or(|at| at.elapsed() >= LINE_EVERY);
        if self.bar.is_hidden() && due {
            self.printed = Some(Instant::now());
            let total = report.total.map_or(String::new(), |total| format!("/{total}"));
            self.console.note(format_args!("step {}{total}  {line}", report.step));
        }
    }
}

fn describe(report: &StepReport) -> String {
    let eta = report.eta.map_or(String::new(), |eta| {
        let seconds = eta.as_secs();
        format!("  {}:{:02} left", seconds / 60, seconds % 60)
    });
    let stall = if report.data_stall >= 0.01 {
        format!("  waiting for data {:.0} %", 100.0 * report.data_stall)
    } else {
        String::new()
    };
    format!(
        "loss {:.4}  {:.0} tokens/s  mfu {:.0} %{stall}{eta}",
        report.loss,
        report.tokens_per_second,
        100.0 * report.mfu
    )
}

impl Observer for TrainingProgress<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Started { step, total } => {
                if let Some(total) = total {
                    self.bar.set_length(total);
                }
                self.bar.set_position(step);
            }
            Event::Step(report) => self.step(report),
            Event::Evaluated { step, bits_per_byte, tokens } => {
                self.note(&format!(
                    "step {step}: {bits_per_byte:.4} bits per byte ({tokens} held-out tokens)"
                ));
            }
            Event::Saved { path, .. } => self.note(&format!("saved {}", path.display())),
            Event::Sampled { step, text } => {
                self.note(&format!("step {step} writes:\n{}\n", indent(text)));
            }
            Event::Warning(text) => self.bar.suspend(|| self.console.warn(printable(&text))),
        }
    }
}

/// Lines with four blanks before them; what a model writes may hold control characters.
fn indent(text: &str) -> String {
    let lines = text.lines().map(|line| format!("    {}", printable(line)));
    lines.collect::<Vec<_>>().join("\n")
}

impl Drop for TrainingProgress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
