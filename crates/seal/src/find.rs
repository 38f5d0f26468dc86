//! Where texts stand on the pages, found by the same interpreter that draws them: for anchors, and for the check after sealing.

use std::collections::BTreeMap;
use std::time::Duration;

use hayro::hayro_interpret::font::{Glyph, GlyphRun};
use hayro::hayro_interpret::hayro_cmap::BfString;
use hayro::hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, SoftMask, interpret_page,
};
use hayro::hayro_syntax::page::Page;
use hayro::kurbo::{Affine, BezPath, Point, Rect, Vec2};
use serde::{Deserialize, Serialize};

use crate::geometry::Geometry;
use crate::limits::cpu_used;
use crate::render::open;
use crate::types::{SealError, TextBox};

/// The most texts that one task looks for.
pub const NEEDLES_MAX: usize = 500;
/// The most places that are answered for one text.
pub const PLACES_MAX: usize = 5_000;
/// CPU time after which a search answers how far it came.
const FIND_CPU: Duration = Duration::from_secs(4);
/// The most glyphs that are kept of a page.
const GLYPHS_MAX: usize = 500_000;
/// Of the font's size: how far glyphs reach below and above the line.
const DESCENT: f64 = 0.22;
const ASCENT: f64 = 0.78;
/// Of the glyphs' height: what is this far off the line stands on another line.
const SAME_LINE: f64 = 0.5;
/// Glyph space has this many units for the font's size.
const UNITS_PER_EM: f64 = 1000.0;

/// A glyph as it lies on the page as displayed.
#[derive(Debug, Clone)]
pub struct PlacedGlyph {
    /// What it stands for: usually one character, sometimes more (a ligature); empty if the font does not tell.
    pub text: String,
    /// Where its line begins for it.
    pub origin: Point,
    /// From its origin to the next glyph's.
    pub advance: Vec2,
    /// From the line upward, one font size long.
    pub up: Vec2,
    /// Whether it leaves ink: text can be invisible and still be found.
    pub visible: bool,
}

impl PlacedGlyph {
    /// The upright box around it.
    pub fn bounds(&self) -> Rect {
        let (low, high) = (self.up * -DESCENT, self.up * ASCENT);
        let corner = |along: Vec2, off: Vec2| self.origin + along + off;
        Rect::from_points(corner(Vec2::ZERO, low), corner(self.advance, high))
            .union(Rect::from_points(corner(Vec2::ZERO, high), corner(self.advance, low)))
    }
}

/// How far searching came, and what it found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// For each needle its places: by page, then from top to bottom, then from left to right.
    pub places: Vec<Vec<TextBox>>,
    /// The page to go on with (from 0), if there are more.
    pub next: Option<u32>,
}

/// Looks for texts on the pages from `from` (from 0) on, until the time is used up. White space does not count.
pub fn find_text(bytes: Vec<u8>, needles: &[String], from: u32) -> Result<Found, SealError> {
    if needles.len() > NEEDLES_MAX {
        return Err(SealError::fault(format!("more than {NEEDLES_MAX} texts were looked for at once")));
    }
    let pdf = open(bytes)?;
    let started = cpu_used();
    let needles: Vec<String> = needles.iter().map(|needle| squeezed(needle)).collect();
    let mut found = Found { places: vec![Vec::new(); needles.len()], next: None };
    for (index, page) in pdf.pages().iter().enumerate().skip(from as usize) {
        if index > from as usize && cpu_used().saturating_sub(started) > FIND_CPU {
            found.next = Some(index as u32);
            break;
        }
        let glyphs = glyphs(page)?;
        let readings = [as_drawn(&glyphs), as_read(&glyphs)];
        for (needle, places) in needles.iter().zip(&mut found.places) {
            let room = PLACES_MAX.saturating_sub(places.len());
            places.extend(on_page(needle, index as u32 + 1, &glyphs, &readings).into_iter().take(room));
        }
    }
    Ok(found)
}

/// Every glyph of a page, in the order in which it is drawn.
pub fn glyphs<'a>(page: &'a Page<'a>) -> Result<Vec<PlacedGlyph>, SealError> {
    let geometry = Geometry::of_hayro(page)?;
    let (width, height) = geometry.displayed();
    let cache = InterpreterCache::new();
    let mut context = Context::new(
        Affine::new(geometry.to_displayed()),
        Rect::new(0.0, 0.0, width, height),
        &cache,
        page.xref(),
        InterpreterSettings::default(),
    );
    let mut device = TextDevice { glyphs: Vec::new() };
    interpret_page(page, &mut context, &mut device);
    Ok(device.glyphs)
}

/// A device that keeps the text and draws nothing.
struct TextDevice {
    glyphs: Vec<PlacedGlyph>,
}

impl<'a> Device<'a> for TextDevice {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, mode: &DrawMode) {
        for glyph in run.glyphs() {
            if self.glyphs.len() >= GLYPHS_MAX {
                return;
            }
            let place = props.transform * glyph.transform();
            let width = match &**glyph {
                Glyph::Outline(outline) => outline.advance_width(),
                Glyph::Type3(drawn) => drawn.advance_width(),
            };
            let origin = place * Point::ZERO;
            self.glyphs.push(PlacedGlyph {
                text: match glyph.as_unicode() {
                    Some(BfString::Char(character)) => character.to_string(),
                    Some(BfString::String(text)) => text.to_string(),
                    None => String::new(),
                },
                origin,
                advance: place * Point::new(f64::from(width.unwrap_or(0.0)), 0.0) - origin,
                up: place * Point::new(0.0, UNITS_PER_EM) - origin,
                visible: !matches!(mode, DrawMode::Invisible),
            });
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

/// A page's text without white space, and for each byte the glyph that it came from.
struct Reading {
    text: String,
    glyph_of_byte: Vec<usize>,
}

impl Reading {
    fn new(glyphs: &[PlacedGlyph], order: impl Iterator<Item = usize>) -> Self {
        let mut reading = Self { text: String::new(), glyph_of_byte: Vec::new() };
        for index in order {
            reading.text.push_str(&squeezed(&glyphs[index].text));
            reading.glyph_of_byte.resize(reading.text.len(), index);
        }
        reading
    }
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace()).collect()
}

fn as_drawn(glyphs: &[PlacedGlyph]) -> Reading {
    Reading::new(glyphs, 0..glyphs.len())
}

/// Line by line: a producer may draw the words of a line, or its letters, in any order.
fn as_read(glyphs: &[PlacedGlyph]) -> Reading {
    let mut order: Vec<usize> = (0..glyphs.len()).filter(|index| glyphs[*index].origin.is_finite()).collect();
    order.sort_by(|a, b| glyphs[*a].origin.y.total_cmp(&glyphs[*b].origin.y));
    let mut lines: Vec<Vec<usize>> = Vec::new();
    for index in order {
        let glyph = &glyphs[index];
        match lines.last_mut() {
            Some(line)
                if glyph.origin.y - glyphs[line[line.len() - 1]].origin.y <= glyph.up.hypot() * SAME_LINE / 2.0 =>
            {
                line.push(index);
            }
            _ => lines.push(vec![index]),
        }
    }
    for line in &mut lines {
        line.sort_by(|a, b| glyphs[*a].origin.x.total_cmp(&glyphs[*b].origin.x));
    }
    Reading::new(glyphs, lines.into_iter().flatten())
}

fn on_page(needle: &str, page: u32, glyphs: &[PlacedGlyph], readings: &[Reading]) -> Vec<TextBox> {
    if needle.is_empty() {
        return Vec::new();
    }
    // By first glyph: what both readings find is one place.
    let mut places = BTreeMap::new();
    for reading in readings {
        for (start, _) in reading.text.match_indices(needle) {
            let hit = &reading.glyph_of_byte[start..start + needle.len()];
            if on_one_line(hit, glyphs) {
                let bounds = hit.iter().map(|index| glyphs[*index].bounds()).reduce(|a, b| a.union(b));
                places.entry(hit[0]).or_insert(bounds.unwrap_or_default());
            }
        }
    }
    let mut boxes: Vec<TextBox> = places
        .into_values()
        .map(|bounds| TextBox { page, x: bounds.x0, y: bounds.y0, width: bounds.width(), height: bounds.height() })
        .collect();
    // Whole points, so that letters of one line that differ by a hair stay in order.
    boxes.sort_by(|a, b| a.y.round().total_cmp(&b.y.round()).then(a.x.total_cmp(&b.x)));
    boxes
}

/// Whether the glyphs stand on one line, whatever way it runs: a word's end and the next line's start are no text.
fn on_one_line(hit: &[usize], glyphs: &[PlacedGlyph]) -> bool {
    let first = &glyphs[hit[0]];
    let size = first.up.hypot();
    if !size.is_finite() || size == 0.0 || !first.origin.is_finite() {
        return false;
    }
    let normal = first.up / size;
    hit.iter().all(|index| (glyphs[*index].origin - first.origin).dot(normal).abs() <= size * SAME_LINE)
}
