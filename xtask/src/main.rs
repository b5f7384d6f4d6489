//! Developer chores. `cargo xtask tidy` checks the rules of the house that no compiler checks.

mod tidy;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy::run(),
        _ => anyhow::bail!("usage: cargo xtask tidy"),
    }
}
