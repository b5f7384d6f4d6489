//! Which pod addresses are free.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use parking_lot::Mutex;

const FIRST: u32 = u32::from_be_bytes([10, 244, 0, 2]);
const LAST: u32 = u32::from_be_bytes([10, 244, 255, 254]);

/// Hands out addresses of 10.244.0.0/16, each one as late as possible after its last use.
#[derive(Debug)]
pub(crate) struct Addresses {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u32,
    used: HashSet<u32>,
}

impl Addresses {
    pub(crate) fn new() -> Self {
        Addresses { state: Mutex::new(State { next: FIRST, used: HashSet::new() }) }
    }

    /// A free address, now taken; `None` when all are.
    pub(crate) fn take(&self) -> Option<Ipv4Addr> {
        let mut state = self.state.lock();
        for _ in FIRST..=LAST {
            let candidate = state.next;
            state.next = if candidate == LAST { FIRST } else { candidate + 1 };
            if state.used.insert(candidate) {
                return Some(Ipv4Addr::from(candidate));
            }
        }
        None
    }

    /// Gives an address back.
    pub(crate) fn release(&self, address: Ipv4Addr) {
        self.state.lock().used.remove(&u32::from(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_not_reused_at_once() {
        let addresses = Addresses::new();
        let first = addresses.take().unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 244, 0, 2));
        addresses.release(first);
        assert_eq!(addresses.take().unwrap(), Ipv4Addr::new(10, 244, 0, 3));
    }

    #[test]
    fn addresses_come_round_and_end() {
        let addresses = Addresses::new();
        let all: HashSet<_> = std::iter::from_fn(|| addresses.take()).collect();
        assert_eq!(all.len(), 65_533);
        let freed = Ipv4Addr::new(10, 244, 7, 7);
        addresses.release(freed);
        assert_eq!(addresses.take(), Some(freed));
    }
}
