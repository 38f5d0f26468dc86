//! Crockford's base32 for 128-bit ids: 26 characters, lower case, order kept.

/// Digits, letters and no `i l o u`, which are mistaken for others (Crockford's base32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Each byte's value; [`NONE`] where it is no letter of the alphabet.
const VALUES: [u8; 256] = values();
const NONE: u8 = u8::MAX;

const fn values() -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
}

/// Characters of an encoded id.
pub const ID_CHARS: usize = 26;

/// Encodes 128 bits as 26 characters; the first is `0` to `7`.
pub fn encode(bytes: [u8; 16]) -> String {
    let text = letters(bytes);
    // The alphabet is ASCII.
    std::str::from_utf8(&text).unwrap_or_default().to_owned()
}

/// The same without room of its own, for what is written at every request.
pub fn letters(bytes: [u8; 16]) -> [u8; ID_CHARS] {
    let mut number = u128::from_be_bytes(bytes);
    let mut text = [0; ID_CHARS];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[(number & 31) as usize];
        number >>= 5;
    }
    text
}

/// Decodes what [`encode`] wrote, exactly: lower case, 26 characters, below 2^128.
pub fn decode(text: &str) -> Option<[u8; 16]> {
    if text.len() != ID_CHARS {
        return None;
    }
    let mut number: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let digit = VALUES[usize::from(byte)];
        if digit == NONE || (place == 0 && digit > 7) {
            return None;
        }
        number = (number << 5) | u128::from(digit);
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
