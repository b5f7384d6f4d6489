//! Gives back the pages of code that only starting up, or taking new configuration, needed.
//!
//! The kernel maps program files in runs of pages around each one that is touched, and keeps them mapped. Both touch
//! much that requests never run; what they do need comes back from the page cache at the first touch, for the cost of a
//! minor fault.
//!
//! This is the one module of the project with unsafe code: the system call has no safe form.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::mman::{MmapAdvise, madvise};
use tokio::time::timeout;

use crate::readiness::Readiness;
use crate::state::State;

/// How long nothing has to change: the first requests and probes have made their way by then.
const SETTLED: Duration = Duration::from_secs(3);
/// How long pages stay at least before they are given back again, however often something changes.
const BETWEEN: Duration = Duration::from_secs(30);
/// How often readiness is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(500);

/// Gives back what only starting needed, once the proxy has started, and after each burst of new configuration what that
/// needed. Runs for ever.
pub async fn give_back_when_settled(readiness: Arc<Readiness>, state: Arc<State>) {
    while readiness.check().is_err() {
        tokio::time::sleep(LOOK).await;
    }
    let mut seen = state.generation();
    loop {
        while let Ok(newer) = timeout(SETTLED, state.newer_than(seen)).await {
            seen = newer;
        }
        match give_back() {
            Ok(bytes) => tracing::debug!(bytes, "pages of program files given back"),
            Err(error) => tracing::debug!(%error, "pages of program files stay"),
        }
        tokio::time::sleep(BETWEEN).await;
        seen = state.newer_than(seen).await;
    }
}

/// Unmaps the pages of all program files; returns how many bytes were resident in them.
fn give_back() -> io::Result<usize> {
    let smaps = std::fs::read_to_string("/proc/self/smaps")?;
    let mut bytes = 0;
    for Mapping { range, resident } in droppable(&smaps) {
        let Some(start) = NonNull::new(std::ptr::with_exposed_provenance_mut::<c_void>(range.start)) else { continue };
        // SAFETY: `droppable` lists private mappings of files that cannot be written through and have no page of their
        // own, so each dropped page is the file's and is read from it again when touched: no byte changes its value.
        unsafe { madvise(start, range.len(), MmapAdvise::MADV_DONTNEED) }?;
        bytes += resident;
    }
    Ok(bytes)
}

/// A part of the address space.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    range: Range<usize>,
    /// Bytes of it in memory.
    resident: usize,
}

/// The mappings in `/proc/PID/smaps` of which nothing is lost when their pages are dropped: private, of a file, not
/// writable, and without a page that differs from the file's, be it in memory or swapped out (relocations make such
/// pages before the linker takes the right to write away).
fn droppable(smaps: &str) -> Vec<Mapping> {
    let mut found = Vec::new();
    let mut current: Option<Mapping> = None;
    for line in smaps.lines() {
        match line.split_once(':') {
            Some((key, value)) if !key.contains(' ') => current = current.and_then(|mapping| mapping.with(key, value)),
            _ => {
                found.extend(current.take());
                current = file_mapping(line);
            }
        }
    }
    found.extend(current);
    found.retain(|mapping| mapping.resident > 0);
    found
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE PATH`.
fn file_mapping(line: &str) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?;
    let of_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
    let address = |text| usize::from_str_radix(text, 16).ok();
    let fits = of_file && matches!(permissions, "r-xp" | "r--p");
    fits.then_some(Mapping { range: address(start)?..address(end)?, resident: 0 })
}

impl Mapping {
    /// Takes in one figure; `None` when it rules the mapping out.
    fn with(mut self, key: &str, value: &str) -> Option<Mapping> {
        let bytes = || -> Option<usize> { Some(value.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? << 10) };
        match key {
            "Rss" => self.resident = bytes()?,
            "Anonymous" | "Swap" | "Locked" if bytes()? > 0 => return None,
            _ => {}
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d000000000-55d000400000 r--p 00000000 fe:01 12 /usr/local/bin/lateen
Size:               4096 kB
Rss:                1024 kB
Anonymous:             0 kB
Swap:                  0 kB
Locked:                0 kB
VmFlags: rd mr mw me
55d000400000-55d000800000 r-xp 00400000 fe:01 12 /usr/local/bin/lateen
Rss:                2048 kB
Anonymous:             0 kB
Swap:                  0 kB
55d000800000-55d000900000 r--p 00800000 fe:01 12 /usr/local/bin/lateen
Rss:                 512 kB
Anonymous:           512 kB
Swap:                  0 kB
55d000900000-55d000980000 r--p 00900000 fe:01 12 /usr/local/bin/lateen
Rss:                   4 kB
Anonymous:             0 kB
Swap:                508 kB
55d000980000-55d000990000 rw-p 00980000 fe:01 12 /usr/local/bin/lateen
Rss:                  64 kB
Anonymous:             0 kB
7f0000000000-7f0000100000 rw-p 00000000 00:00 0
Rss:                1024 kB
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
Rss:                   8 kB
Anonymous:             0 kB
";

    #[test]
    fn only_what_the_file_has_too_is_dropped() {
        let expected = [
            Mapping { range: 0x55d0_0000_0000..0x55d0_0040_0000, resident: 1 << 20 },
            Mapping { range: 0x55d0_0040_0000..0x55d0_0080_0000, resident: 2 << 20 },
        ];
        assert_eq!(droppable(SMAPS), expected);
        assert_eq!(droppable(""), []);
    }

    #[test]
    fn the_process_goes_on() {
        assert!(give_back().unwrap() > 0);
        let text = format!("{:?}", droppable(&std::fs::read_to_string("/proc/self/smaps").unwrap()));
        assert!(text.contains("range"), "code that ran just now is resident again: {text}");
    }
}
