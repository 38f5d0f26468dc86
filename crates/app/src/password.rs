//! Passwords of users: made from random bits, kept as Argon2id.

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use model::{Problem, Random};
use zeroize::Zeroizing;

/// Characters of a password that is made: 142 bits.
const PASSWORD_CHARS: usize = 24;
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
