//! Muon and AdamW as graph updates, with learning-rate, momentum and decay schedules.
