//! Rules against a real kernel, with real traffic, in a network namespace of this test's own.
//!
//! Without the usual harness: entering a user namespace needs a process with a single thread.

mod sandbox;
mod traffic;

fn main() {
    sandbox::enter();
    let mut failed = Vec::new();
    for (name, test) in traffic::TESTS {
        let result = std::panic::catch_unwind(test);
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        if result.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
