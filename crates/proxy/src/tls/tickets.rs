//! Keys of session tickets, shared by the workers: whichever one a client comes back to, its session goes on.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

/// Server settings that a session belongs to: it never goes on under others, which may ask more of a client.
pub type Settings = (u64, Option<Arc<str>>);

/// The keys, by the settings of the server; new ones when certificates or roots change, so that each client is then
/// judged anew.
#[derive(Default)]
pub struct Tickets(Mutex<Made>);

#[derive(Default)]
struct Made {
    generation: u64,
    keys: HashMap<Settings, Arc<dyn ProducesTickets>>,
}

impl Tickets {
    /// The keys for servers with these settings and certificates of `generation`. A worker asks once for each pair.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn of(&self, generation: u64, settings: &Settings) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let mut made = self.0.lock();
        if made.generation < generation {
            *made = Made { generation, ..Made::default() };
        }
        if made.generation > generation {
            // A worker that has yet to see the change: nobody shares what it makes.
            return Ticketer::new();
        }
        if let Some(keys) = made.keys.get(settings) {
            return Ok(keys.clone());
        }
        let keys = Ticketer::new()?;
        made.keys.insert(settings.clone(), keys.clone());
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_goes_on_at_every_worker_and_under_the_same_settings_only() {
        let tickets = Tickets::default();
        let of = |generation, id| tickets.of(generation, &(id, None)).expect("keys");
        let ticket = of(1, 1).encrypt(b"session").expect("ticket");
        assert_eq!(of(1, 1).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(of(1, 2).decrypt(&ticket), None, "other settings");
        assert_eq!(of(2, 1).decrypt(&ticket), None, "other certificates");
        assert_eq!(of(1, 1).decrypt(&ticket), None, "a worker that is behind");
    }
}
