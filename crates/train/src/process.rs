//! What this process uses: memory and time, as the system counts them.
//!
//! From Linux's `/proc`; elsewhere each is `None`.

use std::fs;
use std::time::Duration;

/// `/proc` counts times in units of `USER_HZ`: hundredths of a second but on Alpha and Itanium.
const TICKS_PER_SECOND: f64 = 100.0;

/// The most memory that the process ever had resident, in bytes.
pub fn peak_rss_bytes() -> Option<u64> {
    status_bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM")
}

/// The memory that the process has resident now, in bytes.
pub fn rss_bytes() -> Option<u64> {
    status_bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS")
}

/// Time since the process started, to a hundredth of a second: what happened before `main`, such as
/// loading the program, is in it.
pub fn uptime() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let since_boot: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    // Negative in a container that tells its own uptime but the host's start times.
    Duration::try_from_secs_f64(since_boot - start_seconds(&stat)?).ok()
}

/// A field of `/proc/self/status`, which is in kB.
fn status_bytes(status: &str, field: &str) -> Option<u64> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kilobytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// When the process started, in seconds since boot: field 22 of `/proc/self/stat`. The second
/// field, the program's name in parentheses, may itself hold spaces and parentheses.
fn start_seconds(stat: &str) -> Option<f64> {
    let (_, from_third) = stat.rsplit_once(')')?;
    let ticks: u64 = from_third.split_whitespace().nth(22 - 3)?.parse().ok()?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_bad_ones_are_not() {
        let status = "Name:\tkiln\nVmHWM:\t  1234 kB\nVmRSS:\t     7 kB\nVmLck: x kB\n";
        assert_eq!(status_bytes(status, "VmHWM"), Some(1234 * 1024));
        assert_eq!(status_bytes(status, "VmRSS"), Some(7 * 1024));
        for field in ["VmSwap", "VmLck", "Name", "Vm"] {
            assert_eq!(status_bytes(status, field), None, "{field}");
        }
        assert_eq!(status_bytes("VmRSS: 99999999999999999999 kB", "VmRSS"), None);
        assert_eq!(status_bytes("VmRSS: 18446744073709551615 kB", "VmRSS"), None);
    }

    #[test]
    fn start_is_found_behind_any_program_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4250 20 21";
        assert_eq!(start_seconds(&format!("17 (a) b (c) {rest}")), Some(42.5));
        for stat in ["", "17 (a", "17 (a) S 1", "17 (a) S"] {
            assert_eq!(start_seconds(stat), None, "{stat}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_grows_and_the_peak_stays() {
        const BYTES: usize = 64 << 20;
        let before = rss_bytes().unwrap();
        let block = std::hint::black_box(vec![1_u8; BYTES]);
        let during = rss_bytes().unwrap();
        assert!(during > before && during >= BYTES as u64, "{before} then {during}");
        drop(block);
        assert!(peak_rss_bytes().unwrap() >= BYTES as u64);
        assert!(peak_rss_bytes().unwrap() >= rss_bytes().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn uptime_goes_forward() {
        let first = uptime().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let second = uptime().unwrap();
        assert!(second > first, "{first:?} then {second:?}");
        assert!(second < Duration::from_secs(24 * 3600), "{second:?}");
    }
}
