//! The one rule for mail addresses: enough to be deliverable, nothing that could do something in a header.

/// Characters of an address (RFC 5321, 4.5.3.1.3, less the angle brackets).
pub const EMAIL_CHARS_MAX: usize = 254;

/// Checks an address; the answer says what is wrong with it.
pub fn check(address: &str) -> Result<(), &'static str> {
    if address.is_empty() {
        return Err("An address is missing.");
    }
    if address.len() > EMAIL_CHARS_MAX {
        return Err("The address is longer than 254 characters.");
    }
    let Some((local, domain)) = address.rsplit_once('@') else {
        return Err("An address has an @, as in taro@example.com.");
    };
    if local.is_empty() || local.len() > 64 {
        return Err("The part before the @ has 1 to 64 characters.");
    }
    let atom = |c: char| c.is_alphanumeric() || "!#$%&'*+/=?^_`{|}~-.".contains(c);
    if !local.chars().all(atom) || local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err("The part before the @ has a character that mail servers refuse.");
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    if !domain.contains('.') || !domain.split('.').all(label) {
        return Err("The part after the @ is not a domain, as in example.com.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_could_do_something_in_a_header_are_refused() {
        for good in ["taro@example.com", "o'hara+x@sub.example.co.jp", "用户@例子.公司"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "taro",
            "@example.com",
            "taro@",
            "taro@localhost",
            "a b@example.com",
            "a\r\nBcc: x@example.com",
            "a,b@example.com",
            "a@exa_mple.com",
            "a..b@example.com",
            "<a@example.com>",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
