//! Numbers and addresses written by hand: every answer and every line of the log has some, and the library's way, which can
//! pad and align, costs many times as much.

use std::{fmt::Write as _, net::IpAddr};

/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

/// Appends a number, with zeros in front where it has fewer digits.
pub(crate) fn number(text: &mut String, number: u64, digits_min: usize) {
    let (mut rest, mut digits, mut start) = (number, [b'0'; DIGITS_MAX], DIGITS_MAX);
    while rest > 0 || DIGITS_MAX - start < digits_min.max(1) {
        start -= 1;
        // A digit: 0 to 9.
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text.push_str(std::str::from_utf8(&digits[start..]).unwrap_or_default());
}

/// Appends an address.
pub(crate) fn address(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (place, octet) in v4.octets().into_iter().enumerate() {
                if place > 0 {
                    text.push('.');
                }
                number(text, octet.into(), 1);
            }
        }
        IpAddr::V6(v6) => {
            // Writing to a String can't fail.
            let _ = write!(text, "{v6}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_as_the_library_writes_them() {
        for value in [0, 1, 9, 10, 99, 100, 1_042, u64::MAX] {
            let mut text = String::new();
            number(&mut text, value, 1);
            text.push(' ');
            number(&mut text, value, 3);
            assert_eq!(text, format!("{value} {value:03}"));
        }
        for value in ["0.0.0.0", "127.0.0.1", "255.10.100.9", "::1", "2001:db8::7"] {
            let mut text = String::new();
            address(&mut text, value.parse().expect("an address"));
            assert_eq!(text, value);
        }
    }
}
