//! The machine's random bits.

use model::Random;

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // Without random bits no secret may be made: there is nothing to go on with.
        getrandom::fill(bytes).expect("the operating system gives random bits");
    }
}
