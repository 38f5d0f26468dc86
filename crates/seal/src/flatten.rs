//! Makes a form's fields part of its pages, so that what the signer sees is what is sealed and nobody can fill it in afterwards.

use std::collections::BTreeMap;

use lopdf::{Dictionary, Document, Object, ObjectId, Stream};

use crate::geometry::{Matrix, apply, inherited, rectangle};
use crate::stamp;
use crate::types::SealError;

/// Annotation flags: not shown on screen.
const HIDDEN: i64 = 1 << 1;
const NO_VIEW: i64 = 1 << 5;
/// How deep a field may be nested.
const FIELD_DEPTH_MAX: usize = 32;
/// The most widgets on one page.
const WIDGETS_MAX: usize = 20_000;

/// Draws the fields into their pages and removes the form. Answers how many were drawn or dropped.
///
/// A form whose values have no up-to-date appearance is refused: each viewer would make up its own.
pub fn flatten(document: &mut Document) -> Result<usize, SealError> {
    let Ok(form) = form(document).cloned() else { return Ok(0) };
    let stale = form.get_deref(b"NeedAppearances", document).and_then(Object::as_bool).unwrap_or(false);
    let resources = form.get(b"DR").cloned().ok();
    let mut count = 0;
    let pages: Vec<ObjectId> = document.page_iter().collect();
    for page in pages {
        count += flatten_page(document, page, stale, resources.as_ref())?;
    }
    if let Ok(catalog) = document.catalog_mut() {
        catalog.remove(b"AcroForm");
    }
    document.prune_objects();
    Ok(count)
}

fn form(document: &Document) -> lopdf::Result<&Dictionary> {
    document.catalog()?.get_deref(b"AcroForm", document)?.as_dict()
}

fn flatten_page(
    document: &mut Document,
    page: ObjectId,
    stale: bool,
    resources: Option<&Object>,
) -> Result<usize, SealError> {
    let annotations = document.get_dictionary(page).and_then(|page| page.get_deref(b"Annots", document));
    let Ok(annotations) = annotations.and_then(Object::as_array) else { return Ok(0) };
    let (mut kept, mut widgets) = (Vec::new(), Vec::new());
    for item in annotations {
        match document.dereference(item).and_then(|(_, object)| object.as_dict()) {
            Ok(widget) if is_widget(widget) => widgets.push(widget.clone()),
            _ => kept.push(item.clone()),
        }
    }
    if widgets.is_empty() {
        return Ok(0);
    }
    if widgets.len() > WIDGETS_MAX {
        return Err(SealError::too_complex(format!("a page has more than {WIDGETS_MAX} form fields")));
    }
    let mut drawn = Vec::new();
    for widget in &widgets {
        drawn.extend(appearance(document, widget, stale)?);
    }
    let own = document.get_dictionary_mut(page).map_err(|_| SealError::damaged("a page is not a dictionary"))?;
    own.set("Annots", kept);
    if !drawn.is_empty() {
        let sheet = sheet(document, page, drawn, resources)?;
        stamp::place(document, page, sheet)?;
    }
    Ok(widgets.len())
}

fn is_widget(annotation: &Dictionary) -> bool {
    annotation.get(b"Subtype").and_then(Object::as_name).is_ok_and(|kind| kind == b"Widget")
}

/// What a widget shows, and where; `None` if it shows nothing.
fn appearance(document: &Document, widget: &Dictionary, stale: bool) -> Result<Option<(ObjectId, Matrix)>, SealError> {
    let flags = widget.get_deref(b"F", document).and_then(Object::as_i64).unwrap_or(0);
    if flags & (HIDDEN | NO_VIEW) != 0 {
        return Ok(None);
    }
    let shown = normal_appearance(document, widget);
    if has_text(document, widget) && (stale || shown.is_none()) {
        return Err(SealError::refused(
            "document_form",
            "the document is a form whose values each program draws in its own way",
        ));
    }
    let Some((id, stream)) = shown else { return Ok(None) };
    let rect = widget.get_deref(b"Rect", document).ok().and_then(|rect| rectangle(document, rect));
    let bounds = stream.dict.get_deref(b"BBox", document).ok().and_then(|bounds| rectangle(document, bounds));
    let (Some(rect), Some(bounds)) = (rect, bounds) else { return Ok(None) };
    Ok(fit(bounds, matrix(document, &stream.dict), rect).map(|matrix| (id, matrix)))
}

/// The normal appearance, by the state that the widget is in: the renderer's own rule.
fn normal_appearance<'a>(document: &'a Document, widget: &Dictionary) -> Option<(ObjectId, &'a Stream)> {
    let appearances = widget.get(b"AP").ok()?;
    let appearances = document.dereference(appearances).ok()?.1.as_dict().ok()?;
    let normal = appearances.get(b"N").ok()?;
    stream(document, normal).or_else(|| {
        let states = document.dereference(normal).ok()?.1.as_dict().ok()?;
        let state = widget.get_deref(b"AS", document).and_then(Object::as_name).ok();
        let state = state.and_then(|state| states.get(state).ok()).or_else(|| states.get(b"Off").ok());
        state.and_then(|state| stream(document, state))
    })
}

fn stream<'a>(document: &'a Document, object: &Object) -> Option<(ObjectId, &'a Stream)> {
    let id = object.as_reference().ok()?;
    let object = document.get_object(id).ok()?;
    Some((id, object.as_stream().ok()?))
}

/// Whether the widget's field is one of text or choice and has a value.
fn has_text(document: &Document, widget: &Dictionary) -> bool {
    let kind = attribute(document, widget, b"FT").and_then(|kind| kind.as_name().ok());
    if !matches!(kind, Some(b"Tx" | b"Ch")) {
        return false;
    }
    match attribute(document, widget, b"V") {
        None | Some(Object::Null) => false,
        Some(Object::String(text, _)) => !text.is_empty() && text != b"\xfe\xff",
        Some(Object::Array(choices)) => !choices.is_empty(),
        Some(_) => true,
    }
}

/// A field's attribute, its own or its parents'.
fn attribute<'a>(document: &'a Document, field: &'a Dictionary, key: &[u8]) -> Option<&'a Object> {
    let mut node = field;
    for _ in 0..FIELD_DEPTH_MAX {
        if let Ok(value) = node.get_deref(key, document) {
            return Some(value);
        }
        node = node.get_deref(b"Parent", document).and_then(Object::as_dict).ok()?;
    }
    None
}

fn matrix(document: &Document, form: &Dictionary) -> Matrix {
    let mut matrix = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    let given = form.get_deref(b"Matrix", document).and_then(Object::as_array);
    if let Ok(given) = given
        && given.len() == matrix.len()
    {
        for (value, item) in matrix.iter_mut().zip(given) {
            *value = document.dereference(item).ok().and_then(|(_, item)| item.as_float().ok()).unwrap_or(0.0).into();
        }
    }
    matrix
}

/// ISO 32000, 12.5.5: the appearance's box, turned by its matrix, is stretched to the annotation's rectangle.
fn fit(bounds: [f64; 4], matrix: Matrix, rect: [f64; 4]) -> Option<Matrix> {
    let [left, bottom, right, top] = bounds;
    let corners = [(left, bottom), (left, top), (right, bottom), (right, top)].map(|(x, y)| apply(matrix, x, y));
    let low = corners.iter().fold((f64::MAX, f64::MAX), |low, corner| (low.0.min(corner.0), low.1.min(corner.1)));
    let high = corners.iter().fold((f64::MIN, f64::MIN), |high, corner| (high.0.max(corner.0), high.1.max(corner.1)));
    let sx = (rect[2] - rect[0]) / (high.0 - low.0);
    let sy = (rect[3] - rect[1]) / (high.1 - low.1);
    let fitted = [sx, 0.0, 0.0, sy, rect[0] - sx * low.0, rect[1] - sy * low.1];
    fitted.iter().all(|value| value.is_finite()).then_some(fitted)
}

/// One form XObject that shows all of a page's widgets.
fn sheet(
    document: &mut Document,
    page: ObjectId,
    drawn: Vec<(ObjectId, Matrix)>,
    resources: Option<&Object>,
) -> Result<ObjectId, SealError> {
    let mut forms = Dictionary::new();
    let mut content = String::new();
    let mut names = BTreeMap::new();
    for (id, [a, b, c, d, e, f]) in drawn {
        let count = names.len();
        let name = names.entry(id).or_insert_with(|| format!("W{count}"));
        content.push_str(&format!("q {a:.6} {b:.6} {c:.6} {d:.6} {e:.4} {f:.4} cm /{name} Do Q\n"));
        forms.set(name.as_bytes(), Object::Reference(id));
        if let Ok(stream) = document.get_object_mut(id).and_then(Object::as_stream_mut) {
            stream.dict.set("Type", "XObject");
            stream.dict.set("Subtype", "Form");
            if let Some(resources) = resources
                && !stream.dict.has(b"Resources")
            {
                stream.dict.set("Resources", resources.clone());
            }
        }
    }
    let media = inherited(document, page, b"MediaBox").cloned();
    let media = media.ok_or_else(|| SealError::damaged("a page has no MediaBox"))?;
    let mut form = Dictionary::new();
    form.set("Type", "XObject");
    form.set("Subtype", "Form");
    form.set("BBox", media);
    let mut own = Dictionary::new();
    own.set("XObject", forms);
    form.set("Resources", own);
    Ok(document.add_object(Stream::new(form, content.into_bytes())))
}
