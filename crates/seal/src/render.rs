//! Pictures of pages, as PNG, drawn from the very bytes that will be sealed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hayro::hayro_interpret::{InterpreterSettings, InterpreterWarning, RenderContent};
use hayro::hayro_syntax::page::Page;
use hayro::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro::vello_cpu::Pixmap;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings};
use serde::{Deserialize, Serialize};

use crate::inspect;
use crate::limits::cpu_used;
use crate::types::SealError;

/// The narrowest picture, in pixels.
pub const WIDTH_PX_MIN: u32 = 16;
/// The widest picture, in pixels.
pub const WIDTH_PX_MAX: u32 = 4_000;
/// The tallest picture, in pixels; a taller page gets a narrower picture.
pub const HEIGHT_PX_MAX: u32 = 12_000;
/// At intake every page is drawn once, this wide: enough to run all that could fail.
const DRAW_WIDTH_PX: u32 = 240;
/// CPU time after which a drawing task answers how far it came. Far below a task's limit, so that one slow page fits.
const DRAW_CPU: Duration = Duration::from_secs(4);
/// Pages that share a cache of fonts and images: more would hold a long document's pictures in memory.
const CACHE_PAGES: usize = 16;
/// Warnings that are kept.
const NOTES_MAX: usize = 50;

/// How far drawing came, and what it noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// The page to go on with (from 0), if there are more.
    pub next: Option<u32>,
    /// One sentence each.
    pub warnings: Vec<String>,
}

/// Opens a document with the parser that draws.
pub fn open(bytes: Vec<u8>) -> Result<Pdf, SealError> {
    Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            SealError::refused("document_encrypted", "the document needs a password to be opened")
        }
        LoadPdfError::Decryption(_) => SealError::refused(
            "document_encrypted",
            "the document is encrypted in a way that cannot be opened without its owner's key",
        ),
        LoadPdfError::Invalid => SealError::damaged("the document's structure cannot be read"),
    })
}

/// Draws one page (from 1) as PNG, `width_px` wide (narrower only for an extremely tall page).
pub fn render(bytes: Vec<u8>, page: u32, width_px: u32) -> Result<Vec<u8>, SealError> {
    let pdf = open(bytes)?;
    let page = nth_page(&pdf, page)?;
    let pixels = pixels(page, &RenderCache::new(), &InterpreterSettings::default(), width_px);
    png(&pixels)
}

/// The page with this number (from 1).
pub fn nth_page<'a>(pdf: &'a Pdf, page: u32) -> Result<&'a Page<'a>, SealError> {
    let index = (page as usize).checked_sub(1);
    index
        .and_then(|index| pdf.pages().get(index))
        .ok_or_else(|| SealError::fault(format!("page {page} of {} was asked for", pdf.pages().len())))
}

/// The page on white, as it is displayed.
pub fn pixels<'a>(
    page: &'a Page<'a>,
    cache: &RenderCache<'a>,
    settings: &InterpreterSettings,
    width_px: u32,
) -> Pixmap {
    let (width, height) = page.render_dimensions();
    let wanted = width_px.clamp(WIDTH_PX_MIN, WIDTH_PX_MAX) as f32;
    let tallest = HEIGHT_PX_MAX as f32 / height;
    // The renderer cuts fractions off; the hundredth keeps it from losing a pixel to rounding.
    let x_scale = ((wanted + 0.01) / width).min(tallest);
    let y_scale = x_scale.max(1.01 / height);
    let pixmap = PixmapSettings { x_scale: x_scale.max(1.01 / width), y_scale, bg_color: WHITE };
    hayro::render(page, cache, settings, &RenderSettings::default(), &pixmap)
}

fn png(pixmap: &Pixmap) -> Result<Vec<u8>, SealError> {
    // The page lies on white, so there is no transparency to keep.
    let rgb: Vec<u8> = pixmap.data().iter().flat_map(|pixel| [pixel.r, pixel.g, pixel.b]).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, u32::from(pixmap.width()), u32::from(pixmap.height()));
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let encoded = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&rgb)?;
        writer.finish()
    });
    encoded.map_err(|error| SealError::fault(format!("png: {error}")))?;
    Ok(bytes)
}

/// Draws every page from `from` (from 0) on, small, until the time is used up: what cannot be drawn shows at intake,
/// not after everyone has signed.
///
/// Each is drawn twice: as it came, and as the parser that stamps writes it. A document that the two read differently
/// would show one thing to the signer and seal another.
pub fn draw_all(bytes: Vec<u8>, from: u32) -> Result<Drawn, SealError> {
    let mut rewritten = Vec::with_capacity(bytes.len());
    inspect::load(&bytes)?
        .save_to(&mut rewritten)
        .map_err(|error| SealError::fault(format!("writing a document anew: {error}")))?;
    let (pdf, rewritten) = (open(bytes)?, open(rewritten)?);
    let notes = Arc::new(Mutex::new(BTreeSet::new()));
    let started = cpu_used();
    let mut next = None;
    let (mut cache, mut cache_rewritten) = (RenderCache::new(), RenderCache::new());
    for (index, page) in pdf.pages().iter().enumerate().skip(from as usize) {
        if index > from as usize && cpu_used().saturating_sub(started) > DRAW_CPU {
            next = Some(index as u32);
            break;
        }
        if index % CACHE_PAGES == 0 {
            (cache, cache_rewritten) = (RenderCache::new(), RenderCache::new());
        }
        let shown = pixels(page, &cache, &noting(index + 1, &notes), DRAW_WIDTH_PX);
        let other = rewritten.pages().get(index);
        let other = other.map(|page| pixels(page, &cache_rewritten, &InterpreterSettings::default(), DRAW_WIDTH_PX));
        if other.is_none_or(|other| other.data() != shown.data()) {
            return Err(SealError::damaged(format!("page {} can be read in more than one way", index + 1)));
        }
    }
    let warnings = notes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
    Ok(Drawn { next, warnings })
}

/// Settings that write down what goes wrong on a page.
fn noting(page: usize, notes: &Arc<Mutex<BTreeSet<String>>>) -> InterpreterSettings {
    let notes = notes.clone();
    InterpreterSettings {
        warning_sink: Arc::new(move |warning| {
            let what = match warning {
                InterpreterWarning::UnsupportedFont => "a font cannot be read, its text is not shown",
                InterpreterWarning::ImageDecodeFailure => "a picture cannot be read and is not shown",
                InterpreterWarning::UnresolvedAnnotationAppearance => {
                    "an annotation has no appearance and is not shown"
                }
                _ => "something cannot be drawn",
            };
            note(&notes, format!("Page {page}: {what}."));
        }),
        ..InterpreterSettings::default()
    }
}

fn note(notes: &Mutex<BTreeSet<String>>, text: String) {
    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    if notes.len() < NOTES_MAX {
        notes.insert(text);
    }
}

/// Whether the pages of two documents look alike, annotations aside, as far as the time goes.
pub fn same_content(one: &Pdf, other: &Pdf) -> bool {
    let settings = || InterpreterSettings { render_content: RenderContent::PAGE, ..InterpreterSettings::default() };
    let started = cpu_used();
    let (caches, other_caches) = (RenderCache::new(), RenderCache::new());
    one.pages().iter().zip(other.pages().iter()).all(|(page, other_page)| {
        cpu_used().saturating_sub(started) > DRAW_CPU
            || pixels(page, &caches, &settings(), DRAW_WIDTH_PX).data()
                == pixels(other_page, &other_caches, &settings(), DRAW_WIDTH_PX).data()
    })
}
