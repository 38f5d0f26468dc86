//! A new secret sealed to whom the caller names, by age: such an answer may be given again, as it shows nobody else anything.

use age::x25519::Recipient;
use model::{BodyError, Problem};
use secret::SecretKey;

/// Reads `encrypt_to`.
pub(crate) fn recipient(text: Option<&str>) -> Result<Option<Recipient>, BodyError> {
    let wrong = |_| {
        let detail = "The recipient is an age public key of X25519, as age-keygen prints it: age1 and 58 characters.";
        BodyError::new("/encrypt_to", "invalid_value", detail)
    };
    text.map(|text| text.trim().parse().map_err(wrong)).transpose()
}

/// The secret as an armored age file that only the recipient opens.
pub(crate) fn seal(recipient: &Recipient, secret: &SecretKey) -> Result<String, Problem> {
    age::encrypt_and_armor(recipient, secret.expose().as_bytes()).map_err(Problem::fault)
}

/// What was read beside the recipient, or every fault of both.
pub(crate) fn with_recipient<T>(
    read: Result<T, Problem>,
    encrypt_to: Option<&str>,
) -> Result<(T, Option<Recipient>), Problem> {
    match (read, recipient(encrypt_to)) {
        (Ok(read), Ok(recipient)) => Ok((read, recipient)),
        (Ok(_), Err(fault)) => Err(Problem::body(vec![fault])),
        (Err(problem), Err(fault)) if !problem.errors.is_empty() => {
            Err(Problem::body(problem.errors.into_iter().chain([fault]).collect()))
        }
        (Err(problem), _) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::x25519::Identity;
    use model::Code;

    #[test]
    fn only_the_recipient_opens_it() {
        let (identity, other) = (Identity::generate(), Identity::generate());
        let secret = SecretKey::generate(model::Environment::Development, Default::default(), [7; 32]);
        let recipient = recipient(Some(&identity.to_public().to_string())).expect("a recipient").expect("one");
        let sealed = seal(&recipient, &secret).expect("sealed");
        assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n") && !sealed.contains("iusk_"), "{sealed}");
        assert_eq!(age::decrypt(&identity, sealed.as_bytes()).expect("opened"), secret.expose().as_bytes());
        assert!(age::decrypt(&other, sealed.as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_recipient_is_refused_beside_the_other_faults() {
        let identity = Identity::generate();
        for text in ["", "age1", "ssh-ed25519 AAAA", age::secrecy::ExposeSecret::expose_secret(&identity.to_string())] {
            let refused = with_recipient(Ok(()), Some(text)).map(|_| ()).expect_err(text);
            assert_eq!((refused.code, refused.errors[0].pointer.as_str()), (Code::InvalidBody, "/encrypt_to"));
            assert!(text.len() < 5 || !refused.detail.contains(text), "a private key may have been sent by mistake");
        }
        let fault = Problem::body(vec![BodyError::new("/label", "required", "No.")]);
        let refused = with_recipient(Err::<(), _>(fault), Some("x")).map(|_| ()).expect_err("two faults");
        assert_eq!(refused.errors.len(), 2);
        assert!(with_recipient(Ok(()), None).is_ok_and(|((), recipient)| recipient.is_none()));
    }
}
