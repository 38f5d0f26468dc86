//! The check after sealing, with the parser that did not write: the seal holds, the pages are there, each value is at its box.

use std::collections::BTreeMap;

use hayro::RenderCache;
use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_syntax::page::Page;
use hayro::kurbo::Rect;
use hayro::vello_cpu::Pixmap;

use crate::find::{PlacedGlyph, glyphs};
use crate::geometry::Geometry;
use crate::render::{open, pixels};
use crate::text::Typesetter;
use crate::types::{Expectation, Mark, SealError, Stamp};
use crate::verify::{Verdict, verify};

/// How far a glyph's middle may lie outside of its box, in points: descenders of text that was set at 6 points.
const SLACK_POINTS: f64 = 2.0;
/// Pixels for each point when boxes are looked at, on pages up to `PICTURE_PX_MAX`.
const PIXELS_PER_POINT: f64 = 1.0;
/// The widest picture that is drawn for the check.
const PICTURE_PX_MAX: f64 = 2_000.0;
/// A pixel is drawn on if a channel is this far from white. A dot of the thinnest pen, 0.8 points wide, that falls on
/// the corner of four pixels covers an eighth of each: 30 of 255.
const MARKED: u8 = 20;

/// Refuses a sealed file (`document_check_failed`) unless all that was asked for is found in it.
pub fn check(sealed: Vec<u8>, expect: &Expectation) -> Result<(), SealError> {
    let failed = |detail: String| SealError::refused("document_check_failed", detail);
    let report = verify(&sealed, &[]);
    if report.verdict != Verdict::Valid {
        return Err(failed(format!("the seal does not hold: {}", report.reason)));
    }
    let pdf = open(sealed)?;
    let pages = pdf.pages();
    if pages.len() != expect.pages as usize {
        return Err(failed(format!("the sealed file has {} pages and not {}", pages.len(), expect.pages)));
    }
    let mut of_page: BTreeMap<usize, Vec<&Stamp>> = BTreeMap::new();
    for stamp in &expect.stamps {
        of_page.entry(stamp.page as usize).or_default().push(stamp);
    }
    let set = Typesetter::new();
    for (number, stamps) in of_page {
        let page = number
            .checked_sub(1)
            .and_then(|index| pages.get(index))
            .ok_or_else(|| failed(format!("page {number} is not there")))?;
        check_page(&set, page, &stamps).map_err(|what| failed(format!("page {number}: {what}")))?;
    }
    Ok(())
}

fn check_page(set: &Typesetter, page: &Page<'_>, stamps: &[&Stamp]) -> Result<(), String> {
    let placed = glyphs(page).map_err(|error| error.to_string())?;
    let geometry = Geometry::of_hayro(page).map_err(|error| error.to_string())?;
    let (width, _) = geometry.displayed();
    let wide = (width * PIXELS_PER_POINT).clamp(1.0, PICTURE_PX_MAX).ceil() as u32;
    let picture = pixels(page, &RenderCache::new(), &InterpreterSettings::default(), wide);
    let scale = f64::from(picture.width()) / width;
    for stamp in stamps {
        let place = Rect::new(stamp.x, stamp.y, stamp.x + stamp.width, stamp.y + stamp.height);
        if let Mark::Text { text, .. } | Mark::Signature { text } = &stamp.what {
            text_stands(set, &placed, text, place)?;
            if set.printable(text).trim().is_empty() {
                continue;
            }
        }
        if let Mark::Ink { strokes } = &stamp.what
            && strokes.iter().all(Vec::is_empty)
        {
            continue;
        }
        if !is_marked(&picture, place, scale) {
            return Err(format!("nothing is seen in the box at {:.0}, {:.0}", stamp.x, stamp.y));
        }
    }
    Ok(())
}

/// The value's letters, read from the page, stand one after the other in the box.
fn text_stands(set: &Typesetter, placed: &[PlacedGlyph], text: &str, place: Rect) -> Result<(), String> {
    let wanted = squeezed(&set.printable(text));
    let room = place.inflate(SLACK_POINTS, SLACK_POINTS);
    let inside: Vec<&PlacedGlyph> =
        placed.iter().filter(|glyph| glyph.visible && room.contains(glyph.bounds().center())).collect();
    let found = squeezed(&inside.iter().map(|glyph| glyph.text.as_str()).collect::<String>());
    // Text that runs from right to left is drawn from left to right: then the letters count, and not their order.
    let right_to_left = wanted.chars().any(|letter| matches!(letter, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fefc}'));
    let stands = found.contains(&wanted)
        || if right_to_left { has_letters(set, &found, &wanted) } else { has_in_order(set, &found, &wanted) };
    if stands { Ok(()) } else { Err(format!("the value is not found in its box at {:.0}, {:.0}", place.x0, place.y0)) }
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).collect()
}

/// Whether `wanted` stands in `found`, letter by letter alike.
fn has_in_order(set: &Typesetter, found: &str, wanted: &str) -> bool {
    let (found, wanted): (Vec<char>, Vec<char>) = (found.chars().collect(), wanted.chars().collect());
    wanted.is_empty()
        || found.windows(wanted.len()).any(|part| part.iter().zip(&wanted).all(|(a, b)| are_alike(set, *a, *b)))
}

/// Whether every letter of `wanted` is in `found`, as often.
fn has_letters(set: &Typesetter, found: &str, wanted: &str) -> bool {
    let mut left: Vec<char> = found.chars().collect();
    wanted.chars().all(|letter| {
        let same = left.iter().position(|other| *other == letter);
        let place = same.or_else(|| left.iter().position(|other| are_alike(set, *other, letter)));
        place.map(|place| left.swap_remove(place)).is_some()
    })
}

/// Whether two letters are one shape. A file's font says one letter for each shape: where the same shape stands for another
/// letter in another value, that one is read. A bracket in text from right to left has its opposite's shape.
fn are_alike(set: &Typesetter, a: char, b: char) -> bool {
    const BRACKETS: [(char, char); 8] =
        [('(', ')'), ('[', ']'), ('{', '}'), ('<', '>'), ('«', '»'), ('‹', '›'), ('≤', '≥'), ('「', '」')];
    a == b || BRACKETS.iter().any(|pair| *pair == (a, b) || *pair == (b, a)) || set.have_one_shape(a, b)
}

/// Whether anything in a box is not paper.
fn is_marked(picture: &Pixmap, place: Rect, scale: f64) -> bool {
    let (width, height) = (usize::from(picture.width()), usize::from(picture.height()));
    let pixel = |value: f64, most: usize| (value * scale).round().clamp(0.0, most as f64) as usize;
    let (left, right) = (pixel(place.x0, width), pixel(place.x1, width));
    let (top, bottom) = (pixel(place.y0, height), pixel(place.y1, height));
    let data = picture.data();
    (top..bottom)
        .flat_map(|row| data.get(row * width + left..row * width + right).unwrap_or_default())
        .any(|pixel| [pixel.r, pixel.g, pixel.b].iter().any(|channel| *channel < u8::MAX - MARKED))
}
