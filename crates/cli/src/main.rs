//! lateen
fn main() {}
