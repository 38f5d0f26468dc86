//! Base62 numbers of fixed width: `0-9A-Za-z` in that order, left-padded with `0`.

/// The alphabet, in the order of its values.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Characters that hold 256 bits.
pub const BITS_256_CHARS: usize = 43;

/// Characters that hold 32 bits.
pub const BITS_32_CHARS: usize = 6;

/// 2^256 - 1.
const LARGEST_256: &str = "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1";

/// Encodes a big-endian number in exactly `width` characters, which must be enough for it.
fn encode(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut out = vec![b'0'; width];
    for place in out.iter_mut().rev() {
        let mut rest: u32 = 0;
        for byte in &mut number {
            let value = (rest << 8) | u32::from(*byte);
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        *place = ALPHABET[rest as usize];
    }
    out.into_iter().map(char::from).collect()
}

/// Decodes into exactly `N` big-endian bytes; `None` for another character or a number that does not fit.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut number = [0_u8; N];
    for byte in text.bytes() {
        let mut carry = ALPHABET.iter().position(|&letter| letter == byte)? as u32;
        for place in number.iter_mut().rev() {
            let value = u32::from(*place) * 62 + carry;
            *place = (value & 0xff) as u8;
            carry = value >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(number)
}

/// 256 bits as 43 characters.
pub fn encode_256(bytes: [u8; 32]) -> String {
    encode(&bytes, BITS_256_CHARS)
}

/// The 256 bits of 43 characters; `None` when malformed or 2^256 and above.
pub fn decode_256(text: &str) -> Option<[u8; 32]> {
    (text.len() == BITS_256_CHARS).then(|| decode(text)).flatten()
}

/// Whether [`decode_256`] reads this, at a fraction of its price: every request asks. The alphabet is in ASCII's order and
/// the width is fixed, so that texts compare as their numbers do.
pub fn is_256(text: &str) -> bool {
    text.len() == BITS_256_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && text <= LARGEST_256
}

/// 32 bits as 6 characters, in ASCII.
pub fn encode_32(number: u32) -> [u8; BITS_32_CHARS] {
    let mut rest = number as usize;
    let mut out = [b'0'; BITS_32_CHARS];
    for place in out.iter_mut().rev() {
        *place = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_a_number_and_order_is_kept(a: [u8; 32], b: [u8; 32]) {
            prop_assert_eq!(decode_256(&encode_256(a)), Some(a));
            prop_assert!(is_256(&encode_256(a)));
            prop_assert_eq!(a.cmp(&b), encode_256(a).cmp(&encode_256(b)));
        }

        #[test]
        fn what_is_said_to_be_a_number_is_read(text in "[0-9A-Za-z-]{43}|[yz][0-9A-Za-z]{42}") {
            prop_assert_eq!(is_256(&text), decode_256(&text).is_some());
        }

        #[test]
        fn short_numbers_are_written_as_long_ones(number: u32) {
            let text: String = encode_32(number).map(char::from).iter().collect();
            prop_assert_eq!(text, encode(&number.to_be_bytes(), BITS_32_CHARS));
        }
    }

    #[test]
    fn a_number_of_2_to_the_256_is_refused() {
        assert_eq!(encode_256([0xff; 32]), LARGEST_256);
        assert!(is_256(LARGEST_256));
        for text in ["yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp2", &"z".repeat(43), &"0".repeat(42), &"-".repeat(43)] {
            assert!(!is_256(text) && decode_256(text).is_none(), "{text}");
        }
    }
}
