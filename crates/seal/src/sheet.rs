//! Sets documents of our own on pages: paragraphs, boxes and rules run down the page, and over to the next.

use krilla::color::rgb;
use krilla::destination::XyzDestination;
use krilla::geom::Point;
use krilla::geom::{Path, PathBuilder, Rect};
use krilla::metadata::Metadata;
use krilla::num::NormalizedF32;
use krilla::outline::{Outline, OutlineNode};
use krilla::page::PageSettings;
use krilla::paint::{Fill, Stroke};
use krilla::surface::Surface;
use std::rc::Rc;

use crate::stamp::{draw_banner, draw_what};
use crate::text::{Align, Face, Paragraph, Style, Typesetter};
use crate::types::{Mark, SealError};

/// A4, in points.
pub const A4: (f32, f32) = (595.28, 841.89);
/// The most pages that one document of ours may have.
pub const SHEET_PAGES_MAX: usize = 500;

/// A colour as red, green, blue.
pub type Color = (u8, u8, u8);

/// Where things may stand on a page: the distances from its edges, in points.
#[derive(Debug, Clone, Copy)]
pub struct Margins {
    /// From the left edge.
    pub left: f32,
    /// From the right edge.
    pub right: f32,
    /// From the top.
    pub top: f32,
    /// From the bottom.
    pub bottom: f32,
}

enum Item {
    Text { paragraph: Rc<Paragraph>, lines: std::ops::Range<usize>, x: f32, y: f32, color: Color },
    Box { x: f32, y: f32, width: f32, height: f32, radius: f32, fill: Option<Color>, line: Option<(Color, f32)> },
    Line { from: (f32, f32), to: (f32, f32), color: Color, width: f32 },
    Mark { mark: Mark, place: (f32, f32, f32, f32) },
}

/// A document that is being set: what was set so far, and where the next thing will stand.
pub struct Sheet {
    set: Typesetter,
    margins: Margins,
    pages: Vec<Vec<Item>>,
    outline: Vec<(String, usize, f32)>,
    /// Where the next thing stands, from the page's top.
    pub y: f32,
}

impl Sheet {
    /// An empty A4 page.
    pub fn new(margins: Margins) -> Self {
        Self { set: Typesetter::new(), margins, pages: vec![Vec::new()], outline: Vec::new(), y: margins.top }
    }

    /// The left edge of what is set.
    pub fn left(&self) -> f32 {
        self.margins.left
    }

    /// The width of what is set.
    pub fn width(&self) -> f32 {
        A4.0 - self.margins.left - self.margins.right
    }

    /// How many pages there are by now.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// How much room is left on this page.
    pub fn room(&self) -> f32 {
        A4.1 - self.margins.bottom - self.y
    }

    /// Goes to the next page.
    pub fn break_page(&mut self) {
        self.pages.push(Vec::new());
        self.y = self.margins.top;
    }

    /// Goes to the next page unless `height` is left on this one.
    pub fn need(&mut self, height: f32) {
        if self.room() < height && self.y > self.margins.top {
            self.break_page();
        }
    }

    /// Leaves room.
    pub fn space(&mut self, height: f32) {
        self.y += height;
    }

    /// A bookmark to here.
    pub fn bookmark(&mut self, title: &str) {
        self.outline.push((title.to_owned(), self.pages.len() - 1, self.y));
    }

    /// A text broken into lines, to measure or to place.
    pub fn paragraph(&mut self, text: &str, style: Style, width: f32) -> Rc<Paragraph> {
        Rc::new(self.set.set(text, style, Some(width)))
    }

    /// A paragraph over the whole width that may run over to the next page.
    pub fn text(&mut self, text: &str, style: Style, color: Color) {
        self.text_at(text, style, color, self.margins.left, self.width());
    }

    /// A paragraph in a column that may run over to the next page.
    pub fn text_at(&mut self, text: &str, style: Style, color: Color, x: f32, width: f32) {
        let paragraph = self.paragraph(text, style, width);
        self.flow(&paragraph, color, x);
    }

    /// Places a paragraph's lines down the column, line by line where the page ends.
    pub fn flow(&mut self, paragraph: &Rc<Paragraph>, color: Color, x: f32) {
        let mut start = 0;
        while start < paragraph.lines() {
            let mut end = start;
            let height = |end: usize| paragraph.top(end) - paragraph.top(start);
            while end < paragraph.lines() && height(end + 1) <= self.room() {
                end += 1;
            }
            if end == start {
                if self.y > self.margins.top {
                    self.break_page();
                    continue;
                }
                end = start + 1;
            }
            let y = self.y;
            self.put(Item::Text { paragraph: Rc::clone(paragraph), lines: start..end, x, y, color });
            self.y += height(end);
            start = end;
        }
    }

    /// A paragraph at a place of this page, wherever that is.
    pub fn place(&mut self, paragraph: &Rc<Paragraph>, x: f32, y: f32, color: Color) {
        let lines = 0..paragraph.lines();
        self.put(Item::Text { paragraph: Rc::clone(paragraph), lines, x, y, color });
    }

    /// One line of text at a place of this page: its left end, its middle or its right end stands at `x`.
    pub fn line_at(&mut self, text: &str, style: Style, color: Color, x: f32, y: f32) {
        let paragraph = Rc::new(self.set.set(text, Style { align: Align::Left, ..style }, None));
        let x = match style.align {
            Align::Left | Align::Justify => x,
            Align::Center => x - paragraph.width() / 2.0,
            Align::Right => x - paragraph.width(),
        };
        self.place(&paragraph, x, y, color);
    }

    /// A thin line across the column, here.
    pub fn rule(&mut self, color: Color, width: f32) {
        let (left, right, y) = (self.margins.left, A4.0 - self.margins.right, self.y);
        self.line((left, y), (right, y), color, width);
    }

    /// A line on this page.
    pub fn line(&mut self, from: (f32, f32), to: (f32, f32), color: Color, width: f32) {
        self.put(Item::Line { from, to, color, width });
    }

    /// A box on this page: left, top, width, height.
    pub fn rectangle(
        &mut self,
        (x, y, width, height): (f32, f32, f32, f32),
        radius: f32,
        fill: Option<Color>,
        line: Option<(Color, f32)>,
    ) {
        self.put(Item::Box { x, y, width, height, radius, fill, line });
    }

    /// A signature or a tick in a box of this page: left, top, width, height.
    pub fn mark(&mut self, mark: &Mark, place: (f32, f32, f32, f32)) {
        self.put(Item::Mark { mark: mark.clone(), place });
    }

    /// Remembers how far this page is set, so that a box can be put behind what follows.
    pub fn here(&self) -> (usize, usize) {
        (self.pages.len() - 1, self.pages.last().map_or(0, Vec::len))
    }

    /// Puts a box behind what was set since [`Sheet::here`], if that is still on the same page.
    pub fn rectangle_behind(
        &mut self,
        (page, index): (usize, usize),
        (x, y, width, height): (f32, f32, f32, f32),
        radius: f32,
        fill: Option<Color>,
        line: Option<(Color, f32)>,
    ) {
        if let Some(items) = self.pages.get_mut(page)
            && index <= items.len()
        {
            items.insert(index, Item::Box { x, y, width, height, radius, fill, line });
        }
    }

    fn put(&mut self, item: Item) {
        if let Some(page) = self.pages.last_mut() {
            page.push(item);
        }
    }

    /// Writes the PDF. `furniture` sets what stands on every page, given its number and the number of pages.
    pub fn finish(
        mut self,
        title: &str,
        banner: Option<&str>,
        mut furniture: impl FnMut(&mut Self, usize, usize),
    ) -> Result<Vec<u8>, SealError> {
        let count = self.pages.len();
        if count > SHEET_PAGES_MAX {
            return Err(SealError::too_complex(format!("a document of more than {SHEET_PAGES_MAX} pages")));
        }
        // Each page is brought to the end in turn, since what is put goes to the last one.
        let pages = std::mem::take(&mut self.pages);
        let mut done = Vec::with_capacity(count);
        for (index, page) in pages.into_iter().enumerate() {
            self.pages = vec![page];
            furniture(&mut self, index + 1, count);
            done.append(&mut self.pages);
        }
        let mut document = krilla::Document::new();
        let metadata = Metadata::new().title(title.to_owned()).creator("IUSign".to_owned()).language("en".to_owned());
        // No date: the same data make the same bytes, and when it was sealed stands in the seal.
        document.set_metadata(metadata);
        let mut missing = 0;
        for items in &done {
            let settings = PageSettings::from_wh(A4.0, A4.1).ok_or_else(|| SealError::fault("A4 has no area"))?;
            let mut page = document.start_page_with(settings);
            let mut surface = page.surface();
            missing += items.iter().map(|item| draw(&mut self.set, &mut surface, item)).sum::<usize>();
            if let Some(banner) = banner {
                missing += draw_banner(&mut self.set, &mut surface, banner, A4.0, A4.1);
            }
            surface.finish();
            page.finish();
        }
        if missing > 0 {
            return Err(SealError::fault(format!("{missing} letters have no shape in any font")));
        }
        if !self.outline.is_empty() {
            let mut outline = Outline::new();
            for (title, page, y) in self.outline {
                let there = XyzDestination::new(page, Point::from_xy(0.0, (y - 12.0).max(0.0)));
                outline.push_child(OutlineNode::new(title, there));
            }
            document.set_outline(outline);
        }
        document.finish().map_err(|error| SealError::fault(format!("could not write a document: {error:?}")))
    }
}

fn color((red, green, blue): Color) -> rgb::Color {
    rgb::Color::new(red, green, blue)
}

fn draw(set: &mut Typesetter, surface: &mut Surface<'_>, item: &Item) -> usize {
    match item {
        Item::Text { paragraph, lines, x, y, color: ink } => {
            return set.draw_lines(surface, paragraph, lines.clone(), *x, *y, color(*ink));
        }
        Item::Mark { mark, place } => return draw_what(set, surface, mark, *place),
        Item::Box { x, y, width, height, radius, fill, line } => {
            surface.set_fill(fill.map(|fill| Fill {
                paint: color(fill).into(),
                opacity: NormalizedF32::ONE,
                rule: Default::default(),
            }));
            surface.set_stroke(line.map(|(ink, width)| Stroke {
                paint: color(ink).into(),
                width,
                ..Stroke::default()
            }));
            if (fill.is_some() || line.is_some())
                && let Some(path) = rounded(*x, *y, *width, *height, *radius)
            {
                surface.draw_path(&path);
            }
        }
        Item::Line { from, to, color: ink, width } => {
            surface.set_fill(None);
            surface.set_stroke(Some(Stroke { paint: color(*ink).into(), width: *width, ..Stroke::default() }));
            let mut path = PathBuilder::new();
            path.move_to(from.0, from.1);
            path.line_to(to.0, to.1);
            if let Some(path) = path.finish() {
                surface.draw_path(&path);
            }
        }
    }
    surface.set_stroke(None);
    0
}

fn rounded(x: f32, y: f32, width: f32, height: f32, radius: f32) -> Option<Path> {
    let mut path = PathBuilder::new();
    if radius <= 0.0 {
        path.push_rect(Rect::from_xywh(x, y, width, height)?);
        return path.finish();
    }
    let radius = radius.min(width / 2.0).min(height / 2.0);
    let (right, bottom) = (x + width, y + height);
    path.move_to(x + radius, y);
    path.line_to(right - radius, y);
    path.quad_to(right, y, right, y + radius);
    path.line_to(right, bottom - radius);
    path.quad_to(right, bottom, right - radius, bottom);
    path.line_to(x + radius, bottom);
    path.quad_to(x, bottom, x, bottom - radius);
    path.line_to(x, y + radius);
    path.quad_to(x, y, x + radius, y);
    path.close();
    path.finish()
}

/// The styles that our own documents share.
pub mod styles {
    use super::{Align, Face, Style};

    /// A style with its leading and alignment.
    pub const fn style(face: Face, size: f32, leading: f32, align: Align) -> Style {
        Style { face, size, leading, align }
    }
}
