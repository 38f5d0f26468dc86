//! Real workers: what they answer, what they survive, what they cannot do.

mod intake;
mod made;
mod pool;
mod whole;
