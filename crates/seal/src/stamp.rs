//! Draws stamps into a document: an overlay is set with krilla and becomes a form XObject on each page that it concerns.

use std::collections::{BTreeMap, BTreeSet};

use krilla::color::rgb;
use krilla::geom::PathBuilder;
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, LineCap, LineJoin, Stroke};
use krilla::surface::Surface;
use lopdf::{Dictionary, Document, Object, ObjectId, Stream};

use crate::content;
use crate::geometry::{Geometry, inherited};
use crate::renumber::without_generations;
use crate::text::{Face, Paragraph, Style, Typesetter};
use crate::types::{Mark, PAGES_MAX, SealError, Stamp};

/// The most stamps on one document.
pub const STAMPS_MAX: usize = 10_000;
/// The most points of one drawn signature.
pub const INK_POINTS_MAX: usize = 20_000;
/// The size of text where the field does not say, in points.
const SIZE_POINTS_DEFAULT: f32 = 11.0;
/// The largest size that a box may choose for a typed signature, in points.
const SCRIPT_POINTS_MAX: f32 = 28.0;
/// The pen's width as a part of the ink box's height, and its bounds in points.
const PEN_OF_HEIGHT: f32 = 0.035;
const PEN_POINTS: std::ops::RangeInclusive<f32> = 0.8..=2.0;
/// The banner's letters, in points, and its distance from the page's edge.
const BANNER_POINTS: f32 = 8.0;
const BANNER_EDGE_POINTS: f32 = 6.0;

/// The pen's dark blue, as ink on paper.
fn ink() -> rgb::Color {
    rgb::Color::new(16, 32, 96)
}

/// Draws the stamps, and the banner on every page, and writes the file whole, with its own kind of cross-references.
pub fn stamp(pdf: &[u8], stamps: &[Stamp], banner: Option<&str>) -> Result<Vec<u8>, SealError> {
    if stamps.len() > STAMPS_MAX {
        return Err(SealError::too_complex(format!("more than {STAMPS_MAX} values on one document")));
    }
    let mut document =
        Document::load_mem(pdf).map_err(|error| SealError::damaged(format!("the file cannot be read: {error}")))?;
    without_generations(&mut document);
    let pages: Vec<ObjectId> = document.page_iter().take(PAGES_MAX).collect();
    let mut of_page: BTreeMap<usize, Vec<&Stamp>> = BTreeMap::new();
    if banner.is_some() {
        of_page.extend((0..pages.len()).map(|page| (page, Vec::new())));
    }
    for stamp in stamps {
        let page = (stamp.page as usize).checked_sub(1).filter(|page| *page < pages.len());
        let page =
            page.ok_or_else(|| SealError::fault(format!("a field stands on page {}, which is not there", stamp.page)))?;
        of_page.entry(page).or_default().push(stamp);
    }
    if of_page.is_empty() {
        return Ok(pdf.to_vec());
    }
    let mut concerned: Vec<Concerned<'_>> = Vec::new();
    for (page, stamps) in of_page {
        let geometry = Geometry::of_lopdf(&document, pages[page])?;
        // Pages that have only the banner share one form: a long document gets it on thousands of pages.
        let twin = concerned.iter_mut().find(|it| stamps.is_empty() && it.stamps.is_empty() && it.geometry == geometry);
        match twin {
            Some(twin) => twin.pages.push(pages[page]),
            None => concerned.push(Concerned { pages: vec![pages[page]], geometry, stamps }),
        }
    }
    let overlay = overlay(&concerned, banner)?;
    let forms = import(&mut document, &overlay, &concerned)?;
    for (concerned, form) in concerned.iter().zip(forms) {
        for page in &concerned.pages {
            place(&mut document, *page, form)?;
        }
    }
    let mut out = Vec::with_capacity(pdf.len() + overlay.len());
    document.save_to(&mut out).map_err(|error| SealError::fault(format!("could not write the document: {error}")))?;
    out.push(b'\n');
    Ok(out)
}

/// Pages on which the same is drawn.
struct Concerned<'a> {
    pages: Vec<ObjectId>,
    geometry: Geometry,
    stamps: Vec<&'a Stamp>,
}

/// A PDF with one page for each page concerned, as large as that page is displayed, with the stamps alone on it.
fn overlay(concerned: &[Concerned<'_>], banner: Option<&str>) -> Result<Vec<u8>, SealError> {
    let mut set = Typesetter::new();
    let mut document = krilla::Document::new();
    for Concerned { geometry, stamps, .. } in concerned {
        let (width, height) = geometry.displayed();
        let settings = PageSettings::from_wh(width as f32, height as f32)
            .ok_or_else(|| SealError::damaged("a page has no area"))?;
        let mut page = document.start_page_with(settings);
        let mut surface = page.surface();
        let mut missing = 0;
        for stamp in stamps {
            missing += draw_mark(&mut set, &mut surface, stamp)?;
        }
        if let Some(banner) = banner {
            missing += draw_banner(&mut set, &mut surface, banner, width as f32, height as f32);
        }
        surface.finish();
        page.finish();
        if missing > 0 {
            return Err(SealError::fault(format!("{missing} letters of a value have no shape in any font")));
        }
    }
    document.finish().map_err(|error| SealError::fault(format!("could not set the values: {error:?}")))
}

/// Draws one stamp and returns how many glyphs were missing.
fn draw_mark(set: &mut Typesetter, surface: &mut Surface<'_>, stamp: &Stamp) -> Result<usize, SealError> {
    let [x, y, width, height] = [stamp.x, stamp.y, stamp.width, stamp.height].map(|value| value as f32);
    if ![x, y, width, height].iter().all(|value| value.is_finite()) || width <= 0.0 || height <= 0.0 {
        return Err(SealError::fault("a field's box has no area"));
    }
    Ok(draw_what(set, surface, &stamp.what, (x, y, width, height)))
}

/// Draws a mark into a box given as left, top, width, height.
pub(crate) fn draw_what(
    set: &mut Typesetter,
    surface: &mut Surface<'_>,
    what: &Mark,
    (x, y, width, height): (f32, f32, f32, f32),
) -> usize {
    let place = (x, y, width, height);
    let color = match what {
        Mark::Signature { .. } | Mark::Ink { .. } => ink(),
        Mark::Text { .. } | Mark::Check => rgb::Color::black(),
    };
    if let Some((paragraph, top)) = lines_of(set, what, place) {
        return set.draw(surface, &paragraph, x, top, color);
    }
    if let Some((pen, strokes)) = strokes_of(what, place) {
        strokes.iter().for_each(|points| draw_stroke(surface, points, pen, color));
    }
    0
}

/// A text or a typed signature as it is set in its box, and where its top is.
pub(crate) fn lines_of(
    set: &mut Typesetter,
    what: &Mark,
    (_, y, width, height): (f32, f32, f32, f32),
) -> Option<(Paragraph, f32)> {
    let paragraph = match what {
        Mark::Text { text, size } => {
            let size = size.map_or(SIZE_POINTS_DEFAULT.min(height / 1.15), |size| size as f32);
            set.fit(text, Face::Sans, size, width, height)
        }
        Mark::Signature { text } => set.fit(text, Face::Script, (height / 1.15).min(SCRIPT_POINTS_MAX), width, height),
        Mark::Ink { .. } | Mark::Check => return None,
    };
    let top = y + ((height - paragraph.height()) / 2.0).max(0.0);
    Some((paragraph, top))
}

/// One movement of the pen: points on the page.
pub(crate) type PenPath = Vec<(f32, f32)>;

/// The pen's width and the points of a drawing or a tick in its box.
pub(crate) fn strokes_of(what: &Mark, (x, y, width, height): (f32, f32, f32, f32)) -> Option<(f32, Vec<PenPath>)> {
    match what {
        Mark::Text { .. } | Mark::Signature { .. } => None,
        Mark::Ink { strokes } => {
            let pen = (height * PEN_OF_HEIGHT).clamp(*PEN_POINTS.start(), *PEN_POINTS.end());
            // The pen's width stays within the box.
            let (left, top) = (x + pen / 2.0, y + pen / 2.0);
            let (across, down) = ((width - pen).max(0.0), (height - pen).max(0.0));
            let points = |stroke: &Vec<(f64, f64)>| {
                stroke
                    .iter()
                    .take(INK_POINTS_MAX)
                    .filter(|(px, py)| px.is_finite() && py.is_finite())
                    .map(|(px, py)| (left + px.clamp(0.0, 1.0) as f32 * across, top + py.clamp(0.0, 1.0) as f32 * down))
                    .collect()
            };
            Some((pen, strokes.iter().map(points).collect()))
        }
        Mark::Check => {
            let side = width.min(height);
            let (left, top) = (x + (width - side) / 2.0, y + (height - side) / 2.0);
            let points = [(0.18, 0.55), (0.42, 0.78), (0.84, 0.24)];
            let stroke = points.map(|(px, py): (f32, f32)| (left + px * side, top + py * side));
            Some(((side * 0.12).max(0.8), vec![stroke.to_vec()]))
        }
    }
}

/// One line of the pen with round ends, through the middles of its points so that it bends and has no corners.
fn draw_stroke(surface: &mut Surface<'_>, points: &[(f32, f32)], pen: f32, color: rgb::Color) {
    let Some((first, last)) = points.first().zip(points.last()) else { return };
    let mut path = PathBuilder::new();
    path.move_to(first.0, first.1);
    if points.len() > 3 {
        for pair in points[1..].windows(2) {
            let middle = ((pair[0].0 + pair[1].0) / 2.0, (pair[0].1 + pair[1].1) / 2.0);
            path.quad_to(pair[0].0, pair[0].1, middle.0, middle.1);
        }
    } else {
        points.iter().skip(1).for_each(|point| path.line_to(point.0, point.1));
    }
    // A dot is a line of hardly any length: its round ends are what is seen.
    let length = if points.iter().all(|point| point == first) { 0.01 } else { 0.0 };
    path.line_to(last.0 + length, last.1);
    let Some(path) = path.finish() else { return };
    surface.set_fill(None);
    surface.set_stroke(Some(Stroke {
        paint: color.into(),
        width: pen,
        line_cap: LineCap::Round,
        line_join: LineJoin::Round,
        ..Stroke::default()
    }));
    surface.draw_path(&path);
    surface.set_stroke(None);
}

/// A red line of text on white at the page's upper edge.
pub(crate) fn draw_banner(
    set: &mut Typesetter,
    surface: &mut Surface<'_>,
    banner: &str,
    width: f32,
    height: f32,
) -> usize {
    let style = Style { leading: 1.5, ..Style::new(Face::SansBold, BANNER_POINTS) };
    let mut paragraph = set.set(banner, style, None);
    let room = (width - 4.0 * BANNER_EDGE_POINTS).max(1.0);
    if paragraph.width() > room {
        paragraph = set.set(banner, Style { size: BANNER_POINTS * room / paragraph.width(), ..style }, None);
    }
    let left = (width - paragraph.width()) / 2.0;
    let top = BANNER_EDGE_POINTS.min(height / 4.0);
    let (pad, red) = (BANNER_EDGE_POINTS, rgb::Color::new(190, 24, 24));
    let mut path = PathBuilder::new();
    let sides = (left - pad, top, left + paragraph.width() + pad, top + paragraph.height() + 1.0);
    path.move_to(sides.0, sides.1);
    path.line_to(sides.2, sides.1);
    path.line_to(sides.2, sides.3);
    path.line_to(sides.0, sides.3);
    path.close();
    if let Some(path) = path.finish() {
        surface.set_fill(Some(Fill {
            paint: rgb::Color::white().into(),
            opacity: NormalizedF32::ONE,
            rule: Default::default(),
        }));
        surface.set_stroke(Some(Stroke { paint: red.into(), width: 0.75, ..Stroke::default() }));
        surface.draw_path(&path);
        surface.set_stroke(None);
    }
    set.draw(surface, &paragraph, left, top + 0.5, red)
}

/// Takes the overlay's objects into the document and returns, page by page, the form that shows it.
fn import(document: &mut Document, overlay: &[u8], concerned: &[Concerned<'_>]) -> Result<Vec<ObjectId>, SealError> {
    let fault = |error: lopdf::Error| SealError::fault(format!("could not take over the values: {error}"));
    let mut overlay = Document::load_mem(overlay).map_err(fault)?;
    overlay.renumber_objects_with(document.max_id + 1);
    let pages: Vec<ObjectId> = overlay.page_iter().collect();
    if pages.len() != concerned.len() {
        return Err(SealError::fault("the values were set on another number of pages"));
    }
    let mut made = Vec::with_capacity(pages.len());
    for (page, Concerned { geometry, .. }) in pages.iter().zip(concerned) {
        let content = overlay.get_page_content(*page);
        let resources = inherited(&overlay, *page, b"Resources").and_then(|found| found.as_dict().ok()).cloned();
        let (width, height) = geometry.displayed();
        let matrix = geometry.box_to_user(0.0, 0.0, height);
        let mut dictionary = Dictionary::new();
        dictionary.set("Type", Object::Name(b"XObject".to_vec()));
        dictionary.set("Subtype", Object::Name(b"Form".to_vec()));
        dictionary.set("BBox", [0.0, 0.0, width, height].map(|value| Object::Real(value as f32)).to_vec());
        dictionary.set("Matrix", matrix.map(|value| Object::Real(value as f32)).to_vec());
        dictionary.set("Resources", resources.unwrap_or_default());
        let mut form = Stream::new(dictionary, content);
        form.compress().map_err(fault)?;
        made.push(form);
    }
    let wanted =
        reachable(&overlay, &made.iter().map(|form| Object::Dictionary(form.dict.clone())).collect::<Vec<_>>());
    document.objects.extend(overlay.objects.into_iter().filter(|(id, _)| wanted.contains(id)));
    document.max_id = overlay.max_id;
    Ok(made.into_iter().map(|form| document.add_object(form)).collect())
}

/// What the forms need: fonts and their parts, but not the overlay's own pages and metadata.
fn reachable(overlay: &Document, from: &[Object]) -> BTreeSet<ObjectId> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Object> = from.iter().collect();
    while let Some(object) = open.pop() {
        match object {
            Object::Reference(id) => {
                if found.insert(*id)
                    && let Ok(object) = overlay.get_object(*id)
                {
                    open.push(object);
                }
            }
            Object::Array(items) => open.extend(items),
            Object::Dictionary(dictionary) => open.extend(dictionary.iter().map(|(_, value)| value)),
            Object::Stream(stream) => open.extend(stream.dict.iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    found
}

/// Puts the form on the page: the old streams stand between q and as many Q as they leave open.
pub(crate) fn place(document: &mut Document, page: ObjectId, form: ObjectId) -> Result<(), SealError> {
    let fault = |error: lopdf::Error| SealError::fault(format!("could not put the values on a page: {error}"));
    let old: Vec<Object> = document.get_page_contents(page).into_iter().map(Object::Reference).collect();
    let left_open = content::left_open(&document.get_page_content(page));
    let mut resources =
        inherited(document, page, b"Resources").and_then(|found| found.as_dict().ok()).cloned().unwrap_or_default();
    let mut forms = resources.get_deref(b"XObject", document).and_then(Object::as_dict).cloned().unwrap_or_default();
    let name = std::iter::once("IUSign".to_owned())
        .chain((1..).map(|number| format!("IUSign{number}")))
        .find(|name| !forms.has(name.as_bytes()))
        .unwrap_or_default();
    forms.set(name.clone(), Object::Reference(form));
    resources.set("XObject", forms);

    let before = document.add_object(Stream::new(Dictionary::new(), left_open.before()));
    let after = format!("{}q /{name} Do Q\n", left_open.after());
    let after = document.add_object(Stream::new(Dictionary::new(), after.into_bytes()));
    let mut contents = vec![Object::Reference(before)];
    contents.extend(old);
    contents.push(Object::Reference(after));
    let dictionary = document.get_dictionary_mut(page).map_err(fault)?;
    dictionary.set("Contents", contents);
    dictionary.set("Resources", resources);
    Ok(())
}
