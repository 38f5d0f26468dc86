//! The iusign binary.
fn main() {}
