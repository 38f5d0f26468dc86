//! What others have signed and the sender has filled in, upon the page's picture: letters and strokes where the sealed file will
//! have them, without scripts, and the same in words for who listens.

use std::fmt::Write as _;

use app::shown::{Drawing, Filled};
use model::{
    document::Page,
    field::{FieldKind, Signature},
    shown::{By, Entry},
};

use super::{
    pages::{self, Line, Mark},
    show::{Show, label_of},
    words::fill,
};

/// The marks on page `number`.
pub(super) fn page(show: &Show<'_>, filled: &[Filled<'_>], page: &Page, number: u32) -> pages::Filled {
    let marks: Vec<_> =
        filled.iter().filter(|filled| filled.field.page == number).map(|filled| mark(show, filled)).collect();
    if marks.is_empty() {
        return pages::Filled::default();
    }
    pages::Filled {
        label: fill(show.words.filled, &[("page", &number.to_string())]),
        view: format!("0 0 {} {}", points(page.width), points(page.height)),
        marks,
    }
}

fn mark(show: &Show<'_>, filled: &Filled<'_>) -> Mark {
    let mut mark = Mark {
        class: "print".to_owned(),
        words: words(show, filled),
        size: String::new(),
        lines: Vec::new(),
        pen: String::new(),
        paths: Vec::new(),
    };
    match &filled.drawing {
        Drawing::Lines { script, size, lines } => {
            if *script {
                mark.class = "script".to_owned();
            }
            mark.size = points(*size);
            mark.lines = lines
                .iter()
                .map(|line| Line {
                    text: line.text.clone(),
                    x: points(line.left),
                    y: points(line.baseline),
                    width: points(line.width),
                })
                .collect();
        }
        Drawing::Strokes { pen, strokes } => {
            if matches!(filled.entry, Entry::Signature(_)) {
                mark.class = "ink".to_owned();
            }
            mark.pen = points(*pen);
            mark.paths = strokes.iter().filter_map(|stroke| path(stroke)).collect();
        }
    }
    if filled.by == By::SenderFirst {
        mark.class.push_str(" may");
    }
    mark
}

/// Who filled in what, for screen readers and as a tip.
fn words(show: &Show<'_>, filled: &Filled<'_>) -> String {
    let words = show.words;
    let kind = match filled.field.kind {
        FieldKind::Signature => words.field_signature,
        FieldKind::Name => words.field_name,
        FieldKind::DateSigned => words.field_date,
        FieldKind::Text => words.field_text,
        FieldKind::Checkbox => words.field_checkbox,
    };
    let label = label_of(filled.field, kind);
    let value = match &filled.entry {
        Entry::Text(text) => text,
        Entry::Check => words.ticked,
        Entry::Signature(Signature::Typed { text }) => text,
        Entry::Signature(Signature::Drawn { .. }) => words.drawn_by_hand,
    };
    let text = match filled.by {
        By::Recipient => words.filled_by,
        By::Sender => words.filled_sender,
        By::SenderFirst => words.filled_may,
    };
    let time = filled.recipient.body.signed.as_ref().map(|signed| show.time(signed.act.at)).unwrap_or_default();
    let values = [
        ("label", label.as_str()),
        ("value", value),
        ("name", &filled.recipient.name),
        ("sender", show.sender()),
        ("time", &time),
    ];
    fill(text, &values)
}

/// A line through the middles of its points, as the sealed file draws it; none where there is no point.
fn path(points: &[(f32, f32)]) -> Option<String> {
    let (first, last) = points.first().zip(points.last())?;
    let mut path = format!("M{:.2} {:.2}", first.0, first.1);
    // Writing to a String can't fail.
    if points.len() > 3 {
        for pair in points[1..].windows(2) {
            let middle = ((pair[0].0 + pair[1].0) / 2.0, (pair[0].1 + pair[1].1) / 2.0);
            let _ = write!(path, "Q{:.2} {:.2} {:.2} {:.2}", pair[0].0, pair[0].1, middle.0, middle.1);
        }
    } else {
        points.iter().skip(1).for_each(|point| {
            let _ = write!(path, "L{:.2} {:.2}", point.0, point.1);
        });
    }
    let _ = write!(path, "L{:.2} {:.2}", last.0, last.1);
    Some(path)
}

fn points(value: impl Into<f64>) -> String {
    format!("{:.2}", value.into())
}
