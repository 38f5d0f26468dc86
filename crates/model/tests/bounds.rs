//! Bodies that are built to be large: each list is counted before anything is compared or told.

use model::{
    content::{NewField, Place, place},
    envelope_new::{NewRecipient, RECIPIENTS_MAX, roles},
    field::FieldKind,
};

#[test]
fn a_hundred_thousand_recipients_are_counted_not_compared() {
    let begun = std::time::Instant::now();
    let many = vec![NewRecipient::default(); 100_000];
    let errors = roles(&many).expect_err("refused");
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].pointer.as_str(), &*errors[0].code), ("/recipients", "too_many"));
    // Comparing each with all before it takes a minute.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    assert!(roles(&many[..RECIPIENTS_MAX]).is_ok());
}

#[test]
fn a_field_can_not_lift_the_bound_of_its_value() {
    let field = |max_length| NewField {
        key: None,
        kind: FieldKind::Text,
        recipient: None,
        document: None,
        place: Place::At { page: 1, x: 0.0, y: 0.0 },
        width: None,
        height: None,
        required: None,
        readonly: false,
        default: None,
        max_length,
    };
    let refused = |max_length| {
        let errors = place(&[], &[], &[field(max_length)], &|_, _| Vec::new()).expect_err("no document");
        errors.iter().any(|error| error.pointer == "/fields/0/validation/max_length" && error.code == "out_of_range")
    };
    assert!(refused(Some(u32::MAX)) && refused(Some(10_001)) && refused(Some(0)));
    assert!(!refused(Some(10_000)) && !refused(Some(1)) && !refused(None));
}
