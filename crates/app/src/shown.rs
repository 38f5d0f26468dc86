//! What a recipient is shown of others' and the sender's values, as it will stand on the paper: text by line, ink by stroke.

use model::{
    DocumentId,
    field::Field,
    recipient::Recipient,
    shown::{self, By, Entry, Shown, ShownValues},
};
use seal::{place::place, text::Typesetter};

use crate::{
    paper::{self, entry_mark, stamp},
    room::Room,
};

pub use seal::place::{Line, Placed as Drawing};

/// A value on a page that its reader cannot change.
#[derive(Clone, Debug)]
pub struct Filled<'a> {
    /// The field that it stands in.
    pub field: &'a Field,
    /// Whose field it is.
    pub recipient: &'a Recipient,
    /// Whose word it is.
    pub by: By,
    /// What it is.
    pub entry: Entry<'a>,
    /// How it is drawn, in points from the page's top left.
    pub drawing: Drawing,
}

impl Room {
    /// What stands on a document's pages by others who have signed, and by the sender, in the order of the fields. The
    /// reader's own fields are not among them: the page shows them as its inputs.
    pub fn filled(&self, document: DocumentId) -> Vec<Filled<'_>> {
        let reader = self.recipient().id;
        let signers = shown::signers(&self.envelope, reader);
        let shown = shown::shown(&self.envelope, &self.content.fields, reader, &signers);
        let others: Vec<Shown<'_>> = shown
            .into_iter()
            .filter(|shown| shown.field.document == document && shown.recipient.id != reader)
            .collect();
        if others.is_empty() {
            return Vec::new();
        }
        let mut stamps: Vec<_> =
            others.iter().map(|shown| stamp(shown.field, entry_mark(shown.field, &shown.entry))).collect();
        paper::thin(&mut stamps);
        let mut set = Typesetter::new();
        let mut filled = Vec::with_capacity(others.len());
        for (Shown { field, recipient, by, entry }, stamp) in others.into_iter().zip(&stamps) {
            filled.push(Filled { field, recipient, by, entry, drawing: place(&mut set, stamp) });
        }
        filled
    }

    /// The digest of all that is shown and that the reader cannot change: it comes back with "finish".
    pub fn shown_values(&self) -> ShownValues {
        let reader = self.recipient().id;
        let signers = shown::signers(&self.envelope, reader);
        shown::shown_values(&self.envelope, &self.content.fields, reader, &signers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seal::Mark;

    #[test]
    fn a_thinned_drawing_keeps_its_ends_and_its_strokes() {
        let stroke: Vec<_> = (0..20_000).map(|n| (f64::from(n) / 20_000.0, 0.5)).collect();
        let ink = || Mark::Ink { strokes: vec![stroke.clone(), vec![(0.1, 0.1), (0.2, 0.2)]] };
        let one = |what| seal::Stamp { page: 1, x: 0.0, y: 0.0, width: 90.0, height: 30.0, what };
        let mut few = vec![one(ink())];
        paper::thin(&mut few);
        assert_eq!(few, [one(ink())], "one signature is drawn as it was made");
        let mut many: Vec<_> = (0..1_000).map(|_| one(ink())).collect();
        paper::thin(&mut many);
        let points = |stamp: &seal::Stamp| match &stamp.what {
            Mark::Ink { strokes } => strokes.clone(),
            _ => Vec::new(),
        };
        let all: usize = many.iter().flat_map(points).map(|stroke| stroke.len()).sum();
        assert!(all <= paper::INK_POINTS_MAX + 4_000, "{all}");
        let thinned = points(&many[0]);
        assert_eq!((thinned[0].first(), thinned[0].last()), (stroke.first(), stroke.last()));
        assert_eq!(thinned[1], [(0.1, 0.1), (0.2, 0.2)]);
        assert!(matches!(place(&mut Typesetter::new(), &many[0]), Drawing::Strokes { .. }));
    }
}
