//! Where a mark's lines and strokes stand, in numbers: a page that shows a value before it is sealed shows what will be drawn.

use crate::{
    stamp::{lines_of, strokes_of},
    text::Typesetter,
    types::{Mark, Stamp},
};

/// A line of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// As it is drawn: a letter that no font has is written as its code.
    pub text: String,
    /// How far it is from the page's left, in points.
    pub left: f32,
    /// How far its baseline is from the page's top, in points.
    pub baseline: f32,
    /// Points.
    pub width: f32,
}

/// A mark on a page, in points from the page's top left.
#[derive(Debug, Clone, PartialEq)]
pub enum Placed {
    /// Text, from the box's left edge.
    Lines {
        /// In the typeface of signatures.
        script: bool,
        /// Points.
        size: f32,
        /// From top to bottom.
        lines: Vec<Line>,
    },
    /// Strokes of a pen with round ends, each through the middles of its points.
    Strokes {
        /// Its width, in points.
        pen: f32,
        /// The points of each.
        strokes: Vec<Vec<(f32, f32)>>,
    },
}

/// Where a stamp's lines and strokes stand.
pub fn place(set: &mut Typesetter, stamp: &Stamp) -> Placed {
    let [x, y, width, height] = [stamp.x, stamp.y, stamp.width, stamp.height].map(|value| value as f32);
    let place = (x, y, width, height);
    if let Some((paragraph, top)) = lines_of(set, &stamp.what, place) {
        let line = |(text, left, baseline, width): (&str, f32, f32, f32)| Line {
            text: text.to_owned(),
            left: x + left,
            baseline: top + baseline,
            width,
        };
        return Placed::Lines {
            script: matches!(stamp.what, Mark::Signature { .. }),
            size: paragraph.size(),
            lines: paragraph.baselines().map(line).collect(),
        };
    }
    let (pen, strokes) = strokes_of(&stamp.what, place).unwrap_or_default();
    Placed::Strokes { pen, strokes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_placed_lies_in_its_box() {
        let mut set = Typesetter::new();
        let stamp = |what| Stamp { page: 1, x: 100.0, y: 200.0, width: 60.0, height: 20.0, what };
        let text = "Kestrel & Söhne GmbH, Kestrelstraße 7, 10115 Berlin".to_owned();
        let Placed::Lines { size, lines, .. } = place(&mut set, &stamp(Mark::Text { text: text.clone(), size: None }))
        else {
            panic!("text is lines");
        };
        assert!(lines.len() > 1 && size <= 6.0, "{size}: {lines:?}");
        assert!(
            lines.iter().all(|line| line.width <= 60.0 && line.baseline > 200.0 && line.baseline <= 221.0),
            "{lines:?}"
        );
        let whole: String = lines.iter().flat_map(|line| line.text.chars()).filter(|c| !c.is_whitespace()).collect();
        assert_eq!(whole, text.replace(' ', ""));
        let Placed::Strokes { pen, strokes } =
            place(&mut set, &stamp(Mark::Ink { strokes: vec![vec![(0.0, 0.0), (1.0, 1.0)]] }))
        else {
            panic!("a drawing is strokes");
        };
        let expected = [(100.0 + pen / 2.0, 200.0 + pen / 2.0), (160.0 - pen / 2.0, 220.0 - pen / 2.0)];
        let [stroke] = strokes.as_slice() else { panic!("one stroke: {strokes:?}") };
        // The box is reckoned by subtracting from its width: the last bit may differ.
        let near = |(a, b): (&(f32, f32), &(f32, f32))| (a.0 - b.0).abs() < 0.001 && (a.1 - b.1).abs() < 0.001;
        assert!(stroke.len() == 2 && stroke.iter().zip(&expected).all(near), "{stroke:?} is not {expected:?}");
    }
}
