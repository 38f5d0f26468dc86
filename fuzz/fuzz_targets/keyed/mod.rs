//! Real secret keys at places of the fuzzer's choice: none of its own would have the right checksum.

use secret::{Environment, SecretKey};

const MARK: &[u8] = b"iusk_*";
const KEY: &str = "iusk_dev_01j0000000e008000000000001_00000000000000000000000000000000000000000001Eoj5w";

/// The bytes, with `iusk_*` and a byte more replaced by the key that the byte chooses.
pub fn keyed(bytes: &[u8]) -> Vec<u8> {
    let id = SecretKey::parse(KEY).expect("a key").id();
    let (mut all, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let Some(at) = rest.windows(MARK.len() + 1).position(|window| window.starts_with(MARK)) {
        let which = rest[at + MARK.len()];
        let environment = Environment::ALL[usize::from(which) % Environment::ALL.len()];
        all.extend(&rest[..at]);
        all.extend(SecretKey::generate(environment, id, [which; 32]).expose().as_bytes());
        rest = &rest[at + MARK.len() + 1..];
    }
    all.extend(rest);
    all
}
