//! Passwords of users: made from random bits, kept as Argon2id.

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use model::{BodyError, Problem, Random};
use zeroize::Zeroizing;

/// Characters of a password that is made: 142 bits.
const PASSWORD_CHARS: usize = 24;
/// Characters of a password that a user chooses at least: it is all that a session asks for (NIST SP 800-63B-4, 3.1.1.2).
/// No list of common passwords has one as long.
pub const PASSWORD_CHARS_MIN: usize = 15;
/// Characters of one at most.
pub const PASSWORD_CHARS_MAX: usize = 256;
/// Bytes of a salt, as the PHC string format recommends.
const SALT_BYTES: usize = 16;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new password.
pub fn generate(random: &dyn Random) -> Zeroizing<String> {
    let mut password = Zeroizing::new(String::with_capacity(PASSWORD_CHARS));
    while password.len() < PASSWORD_CHARS {
        let mut byte = [0];
        random.fill(&mut byte);
        // 248 = 4 * 62: with the bytes above, some letters would be likelier than others.
        if byte[0] < 248 {
            password.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    password
}

/// Refuses a password that is too short or too long, or is the address or the name of who chooses it. No letter, digit or
/// sign is asked for: length is what counts.
pub fn check(password: &str, names: [&str; 2]) -> Result<(), BodyError> {
    let length = password.chars().count();
    let plain = password.trim().to_lowercase();
    let (code, detail) = if length < PASSWORD_CHARS_MIN {
        let words = "a few words are easier to keep in mind than a short riddle";
        ("too_short", format!("The password has at least {PASSWORD_CHARS_MIN} characters: {words}."))
    } else if length > PASSWORD_CHARS_MAX {
        ("too_long", format!("The password has at most {PASSWORD_CHARS_MAX} characters."))
    } else if names.iter().any(|name| plain == name.to_lowercase()) {
        ("too_easy", "The password is your own address or name.".to_owned())
    } else if plain.chars().all(|letter| plain.starts_with(letter)) {
        ("too_easy", "The password is one letter, again and again.".to_owned())
    } else {
        return Ok(());
    };
    Err(BodyError::new("/password", code, detail))
}

/// What is kept of it: Argon2id with the parameters that OWASP names (19 MiB, 2 passes, 1 lane), as a PHC string.
pub async fn hash(password: Zeroizing<String>, random: &dyn Random) -> Result<String, Problem> {
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt);
    // It is slow on purpose: not on a thread that serves others.
    let hashing = tokio::task::spawn_blocking(move || {
        Argon2::default().hash_password_with_salt(password.as_bytes(), &salt).map(|hash| hash.to_string())
    });
    hashing.await.map_err(Problem::fault)?.map_err(|error| Problem::fault(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::PasswordVerifier;
    use argon2::password_hash::phc::PasswordHash;
    use std::sync::atomic::{AtomicU8, Ordering};

    struct Counting(AtomicU8);

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0.fetch_add(37, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn a_chosen_password_is_long_and_nothing_else_is_asked_of_it() {
        let code =
            |password: &str| check(password, ["ada@kestrel.example", "Ada, Countess of Lovelace"]).map_err(|f| f.code);
        assert_eq!(code("correct horse battery"), Ok(()));
        assert_eq!(code("fünfzehn zeichn"), Ok(()), "15 characters, 16 bytes");
        for (password, want) in [
            ("fourteen chars", "too_short"),
            (&*"ab".repeat(129), "too_long"),
            ("ADA@kestrel.example", "too_easy"),
            ("ada, countess of lovelace ", "too_easy"),
            ("aaaaaaaaaaaaaaaa", "too_easy"),
            (&*" ".repeat(20), "too_easy"),
        ] {
            assert_eq!(code(password).expect_err(password), want, "{password}");
        }
    }

    #[tokio::test]
    async fn a_password_is_made_and_only_it_fits_its_hash() {
        let random = Counting(AtomicU8::new(0));
        let (one, other) = (generate(&random), generate(&random));
        assert_eq!((one.len(), other.len()), (PASSWORD_CHARS, PASSWORD_CHARS));
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric()) && *one != *other);
        let text = hash(one.clone(), &random).await.expect("hashed");
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !text.contains(one.as_str()));
        let parsed = PasswordHash::new(&text).expect("a PHC string");
        assert!(Argon2::default().verify_password(one.as_bytes(), &parsed).is_ok());
        assert!(Argon2::default().verify_password(other.as_bytes(), &parsed).is_err());
    }
}
