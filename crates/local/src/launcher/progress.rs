//! What the user sees while a cluster starts.

/// Receives the steps of a start.
pub trait Progress: Send {
    /// One step is done or under way, in plain words.
    fn step(&mut self, text: &str);
    /// The cluster is ready; `api` is its address.
    fn ready(&mut self, api: &str);
}

impl<P: Progress + ?Sized> Progress for &mut P {
    fn step(&mut self, text: &str) {
        (**self).step(text);
    }
    fn ready(&mut self, api: &str) {
        (**self).ready(api);
    }
}
