//! Fonts and typesetting: text is shaped font by font with fallback and drawn as embedded, extractable text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use krilla::color::rgb;
use krilla::geom::Point;
use krilla::num::NormalizedF32;
use krilla::paint::Fill;
use krilla::surface::Surface;
use krilla::text::{Font, GlyphId, KrillaGlyph};
use parley::fontique::{Blob, Collection, CollectionOptions, FontInfo, SourceCache};
use parley::style::{FontFamily, FontFamilyName, FontStyle, FontWeight, LineHeight, OverflowWrap, StyleProperty};
use parley::{Alignment, AlignmentOptions, FontContext, Layout, LayoutContext};

/// Below this size, in points, text is wrapped and no longer shrunk.
pub const SIZE_POINTS_MIN: f32 = 6.0;
/// A typed signature that has to be smaller than this, in points, is refused.
pub const SCRIPT_POINTS_MIN: f32 = 3.0;
/// No text is set smaller than this, in points.
const SIZE_POINTS_LEAST: f32 = 0.5;
/// The leading of text in a field's box.
const FIT_LEADING: f32 = 1.15;
/// The most characters that are set as one paragraph.
pub const PARAGRAPH_CHARS_MAX: usize = 20_000;

/// The fonts that lie in the tree: see `fonts/PROVENANCE.md`.
const FONTS: [&[u8]; 9] = [
    include_bytes!("../fonts/LiberationSans-Regular.ttf"),
    include_bytes!("../fonts/LiberationSans-Bold.ttf"),
    include_bytes!("../fonts/LiberationSans-Italic.ttf"),
    include_bytes!("../fonts/LiberationSerif-Regular.ttf"),
    include_bytes!("../fonts/LiberationSerif-Bold.ttf"),
    include_bytes!("../fonts/LiberationSerif-Italic.ttf"),
    include_bytes!("../fonts/LiberationMono-Regular.ttf"),
    include_bytes!("../fonts/DancingScript-Regular.otf"),
    include_bytes!("../fonts/DroidSansFallbackFull.ttf"),
];

/// A typeface, with what stands in for the letters that it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// Upright, without serifs.
    Sans,
    /// The same, bold.
    SansBold,
    /// The same, slanted.
    SansItalic,
    /// Upright, with serifs.
    Serif,
    /// The same, bold.
    SerifBold,
    /// The same, slanted.
    SerifItalic,
    /// All letters of one width.
    Mono,
    /// Like handwriting.
    Script,
}

impl Face {
    fn families(self) -> &'static [&'static str] {
        match self {
            Self::Sans | Self::SansBold | Self::SansItalic => &["Liberation Sans", "Droid Sans Fallback"],
            Self::Serif | Self::SerifBold | Self::SerifItalic => {
                &["Liberation Serif", "Liberation Sans", "Droid Sans Fallback"]
            }
            Self::Mono => &["Liberation Mono", "Liberation Sans", "Droid Sans Fallback"],
            Self::Script => &["Dancing Script", "Liberation Serif", "Liberation Sans", "Droid Sans Fallback"],
        }
    }

    fn weight(self) -> FontWeight {
        match self {
            Self::SansBold | Self::SerifBold => FontWeight::BOLD,
            _ => FontWeight::NORMAL,
        }
    }

    fn style(self) -> FontStyle {
        match self {
            Self::SansItalic | Self::SerifItalic | Self::Script => FontStyle::Italic,
            _ => FontStyle::Normal,
        }
    }
}

/// Where the lines of a paragraph stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// At the left edge.
    Left,
    /// At the right edge.
    Right,
    /// In the middle.
    Center,
    /// Both edges straight.
    Justify,
}

/// How a paragraph is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// The typeface.
    pub face: Face,
    /// Points.
    pub size: f32,
    /// The distance of two baselines as a multiple of the size.
    pub leading: f32,
    /// Where lines stand.
    pub align: Align,
}

impl Style {
    /// Left-aligned text with ordinary leading.
    pub fn new(face: Face, size: f32) -> Self {
        Self { face, size, leading: 1.25, align: Align::Left }
    }
}

/// Sets text: one for each file that is made, since fonts are embedded once per file.
pub struct Typesetter {
    fonts: FontContext,
    layouts: LayoutContext<()>,
    infos: Vec<FontInfo>,
    embedded: HashMap<(u64, u32), Font>,
}

/// A paragraph that has been broken into lines.
pub struct Paragraph {
    text: String,
    size: f32,
    layout: Layout<()>,
}

impl Default for Typesetter {
    fn default() -> Self {
        Self::new()
    }
}

impl Typesetter {
    /// Registers the embedded fonts, and no others: what is drawn must not depend on the machine.
    pub fn new() -> Self {
        let options = CollectionOptions { shared: false, system_fonts: false };
        let mut collection = Collection::new(options);
        let mut infos = Vec::new();
        for data in FONTS {
            let registered = collection.register_fonts(Blob::new(Arc::new(data)), None);
            infos.extend(registered.into_iter().flat_map(|(_, fonts)| fonts));
        }
        let fonts = FontContext { collection, source_cache: SourceCache::default() };
        Self { fonts, layouts: LayoutContext::new(), infos, embedded: HashMap::new() }
    }

    /// Whether some font has this letter.
    pub fn covers(&self, letter: char) -> bool {
        self.infos.iter().any(|info| {
            let Some(data) = info.load(None) else { return false };
            let Some(map) = info.charmap_index().charmap(data.as_ref()) else { return false };
            map.map(letter).is_some_and(|glyph| glyph != 0)
        })
    }

    /// Whether some font draws both letters with one glyph.
    pub fn have_one_shape(&self, a: char, b: char) -> bool {
        self.infos.iter().any(|info| {
            let Some(data) = info.load(None) else { return false };
            let Some(map) = info.charmap_index().charmap(data.as_ref()) else { return false };
            let glyph = map.map(a).filter(|glyph| *glyph != 0);
            glyph.is_some() && glyph == map.map(b)
        })
    }

    /// The text as it can be drawn: a letter that no font has becomes `U+XXXX`; what has no shape of its own is left out.
    pub fn printable(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut known: HashMap<char, bool> = HashMap::new();
        for letter in text.chars().take(PARAGRAPH_CHARS_MAX) {
            match letter {
                '\n' => out.push('\n'),
                '\t' => out.push(' '),
                ' '..='~' => out.push(letter),
                _ if letter.is_control() || is_ignorable(letter) => {}
                _ if *known.entry(letter).or_insert_with(|| self.covers(letter)) => out.push(letter),
                _ => out.push_str(&format!("U+{:04X}", u32::from(letter))),
            }
        }
        out
    }

    /// Breaks a text into lines of at most `width` points; without a width only at line ends.
    pub fn set(&mut self, text: &str, style: Style, width: Option<f32>) -> Paragraph {
        let text = self.printable(text);
        let mut layout = self.shape(&text, style);
        layout.break_all_lines(width);
        let alignment = match style.align {
            Align::Left => Alignment::Left,
            Align::Right => Alignment::Right,
            Align::Center => Alignment::Center,
            Align::Justify => Alignment::Justify,
        };
        layout.align(alignment, AlignmentOptions::default());
        Paragraph { text, size: style.size, layout }
    }

    /// Sets a text into a box: as large as `size`, else shrunk to fit on one line, at [`SIZE_POINTS_MIN`] wrapped.
    /// What does not fit even then is set smaller still: a value is never cut off. A field refuses it before, see [`fits`].
    pub fn fit(&mut self, text: &str, face: Face, size: f32, width: f32, height: f32) -> Paragraph {
        let style = |size| Style { face, size, leading: FIT_LEADING, align: Align::Left };
        let size = size.max(SIZE_POINTS_MIN);
        let paragraph = self.set(text, style(size), None);
        let scale = (width / paragraph.width()).min(height / paragraph.height());
        if scale >= 1.0 {
            return paragraph;
        }
        // A little less than what fits exactly: widths are sums of rounded advances.
        let smaller = size * scale * 0.995;
        if smaller >= SIZE_POINTS_MIN {
            return self.set(text, style(smaller), None);
        }
        let mut size = SIZE_POINTS_MIN;
        let mut paragraph = self.set(text, style(size), Some(width));
        while paragraph.height() > height && size > SIZE_POINTS_LEAST {
            size *= 0.9;
            paragraph = self.set(text, style(size), Some(width));
        }
        paragraph
    }

    fn shape(&mut self, text: &str, style: Style) -> Layout<()> {
        let families: Vec<FontFamilyName<'_>> =
            style.face.families().iter().map(|name| FontFamilyName::Named(Cow::Borrowed(*name))).collect();
        let mut builder = self.layouts.ranged_builder(&mut self.fonts, text, 1.0, false);
        builder.push_default(StyleProperty::FontFamily(FontFamily::List(Cow::Borrowed(&families))));
        builder.push_default(StyleProperty::FontSize(style.size));
        builder.push_default(StyleProperty::FontWeight(style.face.weight()));
        builder.push_default(StyleProperty::FontStyle(style.face.style()));
        builder.push_default(StyleProperty::LineHeight(LineHeight::FontSizeRelative(style.leading)));
        builder.push_default(StyleProperty::OverflowWrap(OverflowWrap::Anywhere));
        builder.build(text)
    }

    fn font(&mut self, font: &parley::FontData) -> Option<Font> {
        let key = (font.data.id(), font.index);
        if let Some(font) = self.embedded.get(&key) {
            return Some(font.clone());
        }
        let (data, _) = font.data.clone().into_raw_parts();
        let made = Font::new(data.into(), font.index)?;
        self.embedded.insert(key, made.clone());
        Some(made)
    }

    /// Draws a paragraph with its top left corner at (x, y) and returns how many glyphs were missing.
    pub fn draw(
        &mut self,
        surface: &mut Surface<'_>,
        paragraph: &Paragraph,
        x: f32,
        y: f32,
        color: rgb::Color,
    ) -> usize {
        self.draw_lines(surface, paragraph, 0..paragraph.lines(), x, y, color)
    }

    /// Draws some of a paragraph's lines, the first of them at the top left corner (x, y).
    pub fn draw_lines(
        &mut self,
        surface: &mut Surface<'_>,
        paragraph: &Paragraph,
        lines: std::ops::Range<usize>,
        x: f32,
        y: f32,
        color: rgb::Color,
    ) -> usize {
        let mut missing = 0;
        surface.set_stroke(None);
        surface.set_fill(Some(Fill { paint: color.into(), opacity: NormalizedF32::ONE, rule: Default::default() }));
        let top = paragraph.top(lines.start);
        for line in lines.filter_map(|index| paragraph.layout.get(index)) {
            let baseline = y - top + line.metrics().baseline;
            let mut at = x + line.metrics().offset;
            for run in line.runs() {
                let size = run.font_size();
                let (start, glyphs) = (at, run_glyphs(&run, &paragraph.text, &mut at));
                missing += glyphs.iter().filter(|glyph| glyph.glyph_id.to_u32() == 0).count();
                let Some(font) = self.font(run.font()) else {
                    missing += glyphs.len();
                    continue;
                };
                if !glyphs.is_empty() {
                    surface.draw_glyphs(Point::from_xy(start, baseline), &glyphs, font, &paragraph.text, size, false);
                }
            }
        }
        missing
    }
}

/// A run's glyphs from left to right, with the text that each stands for. `at` moves on by their advances.
fn run_glyphs(run: &parley::Run<'_, ()>, text: &str, at: &mut f32) -> Vec<KrillaGlyph> {
    let size = run.font_size();
    let mut glyphs: Vec<KrillaGlyph> = Vec::new();
    for cluster in run.visual_clusters() {
        let range = cluster.text_range();
        if cluster.is_ligature_continuation() {
            if let Some(last) = glyphs.last_mut() {
                last.text_range.end = last.text_range.end.max(range.end);
                last.text_range.start = last.text_range.start.min(range.start);
            }
            continue;
        }
        // A line end takes no room and has no shape.
        if text.get(range.clone()).is_some_and(|part| part.chars().all(char::is_control)) {
            continue;
        }
        for glyph in cluster.glyphs() {
            glyphs.push(KrillaGlyph::new(
                GlyphId::new(glyph.id),
                glyph.advance / size,
                glyph.x / size,
                glyph.y / size,
                0.0,
                range.clone(),
                None,
            ));
            *at += glyph.advance;
        }
    }
    glyphs
}

impl Paragraph {
    /// The letters' size, in points.
    pub fn size(&self) -> f32 {
        self.size
    }

    /// The widest line, in points.
    pub fn width(&self) -> f32 {
        self.layout.width()
    }

    /// From the top of the first line to the bottom of the last, in points.
    pub fn height(&self) -> f32 {
        self.layout.height()
    }

    /// How many lines there are.
    pub fn lines(&self) -> usize {
        self.layout.len()
    }

    /// Where a line's top is, from the paragraph's top; after the last line, the paragraph's height.
    pub fn top(&self, line: usize) -> f32 {
        (0..line).filter_map(|index| self.layout.get(index)).map(|line| line.metrics().line_height).sum()
    }

    /// Each line's text, how far it is from the paragraph's left, its baseline from its top, and its width.
    pub fn baselines(&self) -> impl Iterator<Item = (&str, f32, f32, f32)> {
        self.layout.lines().map(|line| {
            let metrics = line.metrics();
            let text = self.text.get(line.text_range()).unwrap_or_default().trim_end();
            (text, metrics.offset, metrics.baseline, metrics.advance - metrics.hanging_advance)
        })
    }

    /// The text as it is drawn.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Whether a text can be read in a field's box of this size: at [`SIZE_POINTS_MIN`] and wrapped, if it must be.
pub fn fits(text: &str, width: f32, height: f32) -> bool {
    fits_at(text, Face::Sans, SIZE_POINTS_MIN, width, height)
}

/// Whether a typed signature can be seen in its field's box: names are longer than initials' boxes, so it may be small.
pub fn fits_signature(text: &str, width: f32, height: f32) -> bool {
    fits_at(text, Face::Script, SCRIPT_POINTS_MIN, width, height)
}

fn fits_at(text: &str, face: Face, size: f32, width: f32, height: f32) -> bool {
    let style = Style { leading: FIT_LEADING, ..Style::new(face, size) };
    let mut set = Typesetter::new();
    let line = set.set(text, style, None);
    // One line may stand in a box that is a little lower than the line.
    let lowest = line.height() / line.lines().max(1) as f32;
    let wrapped = set.set(text, style, Some(width));
    wrapped.height() <= height.max(lowest) && wrapped.width() <= width
}

/// Letters without a shape, and those that would turn the order of what stands around them.
fn is_ignorable(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_no_font_has_becomes_its_code() {
        let set = Typesetter::new();
        assert_eq!(set.printable("Zoë Ωλ Жук 山田"), "Zoë Ωλ Жук 山田");
        assert_eq!(set.printable("a\u{1F4A9}b\u{202E}c\td\u{7}"), "aU+1F4A9bc d");
    }

    #[test]
    fn text_shrinks_to_six_points_and_then_wraps() {
        let mut set = Typesetter::new();
        let wide = set.fit("Ada", Face::Sans, 12.0, 200.0, 20.0);
        assert_eq!(wide.lines(), 1);
        let shrunk = set.fit("Ada Lovelace of the Analytical Engine", Face::Sans, 12.0, 150.0, 20.0);
        assert_eq!(shrunk.lines(), 1);
        assert!(shrunk.width() <= 150.0, "{}", shrunk.width());
        let wrapped = set.fit(&"Ada Lovelace ".repeat(12), Face::Sans, 12.0, 100.0, 60.0);
        assert!(fits(&"Ada Lovelace ".repeat(12), 100.0, 60.0) && !fits(&"Ada Lovelace ".repeat(50), 100.0, 30.0));
        let crammed = set.fit(&"Ada Lovelace ".repeat(50), Face::Sans, 12.0, 100.0, 30.0);
        assert!(crammed.height() <= 30.0, "{}", crammed.height());
        assert!(wrapped.lines() > 1 && wrapped.width() <= 100.5, "{} {}", wrapped.lines(), wrapped.width());
    }
}
