//! Crockford's base32 for 128-bit ids: 26 characters, lower case, order kept.

/// Digits, letters and no `i l o u`, which are mistaken for others (Crockford's base32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters of an encoded id.
pub const ID_CHARS: usize = 26;

/// Encodes 128 bits as 26 characters; the first is `0` to `7`.
pub fn encode(bytes: [u8; 16]) -> String {
    let number = u128::from_be_bytes(bytes);
    (0..ID_CHARS)
        .rev()
        .map(|place| {
            let digit = (number >> (place * 5)) & 31;
            char::from(ALPHABET[digit as usize])
        })
        .collect()
}

/// Decodes what [`encode`] wrote, exactly: lower case, 26 characters, below 2^128.
pub fn decode(text: &str) -> Option<[u8; 16]> {
    if text.len() != ID_CHARS {
        return None;
    }
    let mut number: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|&letter| letter == byte)?;
        if place == 0 && digit > 7 {
            return None;
        }
        number = (number << 5) | digit as u128;
    }
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_and_order_is_kept(a: [u8; 16], b: [u8; 16]) {
            prop_assert_eq!(decode(&encode(a)), Some(a));
            prop_assert_eq!(a.cmp(&b), encode(a).cmp(&encode(b)));
        }
    }

    #[test]
    fn what_was_not_encoded_here_is_refused() {
        for text in [
            "",
            "8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "0000000000000000000000000i",
            "0000000000000000000000000A",
            "0000000000000000000000000",
            "00000000000000000000000000é",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
