//! Joins several documents into one, with a bookmark to the first page of each and their own bookmarks below it.

use std::collections::BTreeMap;

use lopdf::{Dictionary, Document, Object, ObjectId};

use crate::geometry::inherited;
use crate::prepare::text_string;
use crate::renumber::without_generations;
use crate::types::{OBJECTS_MAX, PAGES_MAX, SealError};

/// The most documents that are joined.
pub const DOCUMENTS_MAX: usize = 100;
/// What a page has from its parents, and keeps when it moves to a new one.
const INHERITED: [&[u8]; 4] = [b"Resources", b"MediaBox", b"CropBox", b"Rotate"];
/// How many bookmarks of one document are followed to find the last.
const BOOKMARKS_MAX: usize = 10_000;

/// One document as it stands in the joined file.
struct Part {
    title: String,
    pages: Vec<ObjectId>,
    outline: Option<ObjectId>,
    layers: Layers,
}

/// Optional content: every layer, and those that are not shown.
#[derive(Default)]
struct Layers {
    all: Vec<Object>,
    hidden: Vec<Object>,
}

/// Joins documents, each given as its bookmark's title and its bytes. Signatures, forms and actions stay behind:
/// the joined file is sealed as a file of its own.
pub fn combine(documents: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>, SealError> {
    if documents.is_empty() || documents.len() > DOCUMENTS_MAX {
        return Err(SealError::fault(format!("1 to {DOCUMENTS_MAX} documents can be joined")));
    }
    let mut joined = Document::with_version("1.7");
    let mut parts = Vec::with_capacity(documents.len());
    for (title, bytes) in documents {
        parts.push(take(&mut joined, title, &bytes)?);
        let pages: usize = parts.iter().map(|part| part.pages.len()).sum();
        if pages > PAGES_MAX || joined.objects.len() > OBJECTS_MAX {
            return Err(SealError::too_complex(format!(
                "the documents together have more than {PAGES_MAX} pages or {OBJECTS_MAX} objects"
            )));
        }
    }
    let tree = page_tree(&mut joined, &parts)?;
    let outline = outline(&mut joined, &parts)?;
    let catalog = joined.add_object(Dictionary::from_iter([
        ("Type", Object::Name(b"Catalog".to_vec())),
        ("Pages", Object::Reference(tree)),
        ("Outlines", Object::Reference(outline)),
        ("PageMode", Object::Name(b"UseOutlines".to_vec())),
    ]));
    let mut layers = Layers::default();
    for part in parts {
        layers.all.extend(part.layers.all);
        layers.hidden.extend(part.layers.hidden);
    }
    if !layers.all.is_empty() {
        let shown = Dictionary::from_iter([("OFF", Object::Array(layers.hidden))]);
        let properties = Dictionary::from_iter([("OCGs", Object::Array(layers.all)), ("D", Object::Dictionary(shown))]);
        let catalog = joined.get_dictionary_mut(catalog).map_err(|error| SealError::fault(error.to_string()))?;
        catalog.set("OCProperties", properties);
    }
    joined.trailer.set("Root", catalog);
    joined.prune_objects();
    let mut out = Vec::new();
    joined.save_to(&mut out).map_err(|error| SealError::fault(format!("could not write the joined file: {error}")))?;
    out.push(b'\n');
    Ok(out)
}

/// Moves one document's objects over, under new numbers.
fn take(joined: &mut Document, title: String, bytes: &[u8]) -> Result<Part, SealError> {
    let damaged = |error: lopdf::Error| SealError::damaged(format!("a document to be joined cannot be read: {error}"));
    let mut document = Document::load_mem(bytes).map_err(damaged)?;
    without_generations(&mut document);
    document.renumber_objects_with(joined.max_id + 1);
    let pages: Vec<ObjectId> = document.page_iter().take(PAGES_MAX + 1).collect();
    if pages.is_empty() {
        return Err(SealError::damaged("a document to be joined has no pages"));
    }
    for page in &pages {
        let kept: Vec<(&[u8], Object)> = INHERITED
            .iter()
            .filter_map(|key| inherited(&document, *page, key).map(|value| (*key, value.clone())))
            .collect();
        let widgets = widgets(&document, *page);
        let dictionary = document.get_dictionary_mut(*page).map_err(damaged)?;
        for (key, value) in kept {
            dictionary.set(key, value);
        }
        // A signature's field says something about another file; what is seen of it is nothing.
        if let Some(rest) = widgets {
            dictionary.set("Annots", rest);
        }
        for key in [b"StructParents".as_slice(), b"AA", b"B"] {
            dictionary.remove(key);
        }
    }
    let outline = document
        .catalog()
        .ok()
        .and_then(|catalog| catalog.get(b"Outlines").and_then(Object::as_reference).ok())
        .filter(|id| document.has_object(*id));
    let layers = layers(&document).unwrap_or_default();
    joined.max_id = document.max_id;
    joined.objects.append(&mut document.objects);
    Ok(Part { title, pages, outline, layers })
}

/// A layer that is hidden in its document stays hidden in the joined file.
fn layers(document: &Document) -> Option<Layers> {
    let properties = document.catalog().ok()?.get_deref(b"OCProperties", document).ok()?.as_dict().ok()?;
    let list = |holder: &Dictionary, key: &[u8]| {
        holder.get_deref(key, document).and_then(Object::as_array).cloned().unwrap_or_default()
    };
    let all = list(properties, b"OCGs");
    let default = properties.get_deref(b"D", document).and_then(Object::as_dict).ok()?;
    let hidden = match default.get(b"BaseState").and_then(Object::as_name) {
        Ok(b"OFF") => {
            let shown = list(default, b"ON");
            all.iter().filter(|layer| !shown.contains(layer)).cloned().collect()
        }
        _ => list(default, b"OFF"),
    };
    Some(Layers { all, hidden })
}

/// The page's annotations without the fields of signatures, if it has annotations.
fn widgets(document: &Document, page: ObjectId) -> Option<Vec<Object>> {
    let annotations = document.get_dictionary(page).ok()?.get_deref(b"Annots", document).ok()?.as_array().ok()?;
    let is_signature = |object: &Object| {
        let field = document.dereference(object).ok().and_then(|(_, object)| object.as_dict().ok());
        field.is_some_and(|field| matches!(field.get(b"FT").and_then(Object::as_name), Ok(b"Sig")))
    };
    Some(annotations.iter().filter(|object| !is_signature(object)).cloned().collect())
}

fn page_tree(joined: &mut Document, parts: &[Part]) -> Result<ObjectId, SealError> {
    let pages: Vec<ObjectId> = parts.iter().flat_map(|part| part.pages.iter().copied()).collect();
    let tree = joined.add_object(Dictionary::from_iter([
        ("Type", Object::Name(b"Pages".to_vec())),
        ("Kids", Object::Array(pages.iter().copied().map(Object::Reference).collect())),
        ("Count", Object::Integer(pages.len() as i64)),
    ]));
    for page in pages {
        joined
            .get_dictionary_mut(page)
            .map_err(|error| SealError::fault(format!("a page was lost while joining: {error}")))?
            .set("Parent", Object::Reference(tree));
    }
    Ok(tree)
}

/// One bookmark for each document, and its own below it, closed.
fn outline(joined: &mut Document, parts: &[Part]) -> Result<ObjectId, SealError> {
    let root = joined.new_object_id();
    let items: Vec<ObjectId> = parts.iter().map(|_| joined.new_object_id()).collect();
    for (index, part) in parts.iter().enumerate() {
        let mut item = Dictionary::from_iter([
            ("Title", text_string(&part.title)),
            ("Parent", Object::Reference(root)),
            ("Dest", Object::Array(vec![Object::Reference(part.pages[0]), Object::Name(b"Fit".to_vec())])),
        ]);
        if let Some(previous) = index.checked_sub(1) {
            item.set("Prev", Object::Reference(items[previous]));
        }
        if let Some(next) = items.get(index + 1) {
            item.set("Next", Object::Reference(*next));
        }
        if let Some((first, last, count)) = part.outline.and_then(|outline| adopt(joined, outline, items[index])) {
            item.set("First", Object::Reference(first));
            item.set("Last", Object::Reference(last));
            item.set("Count", Object::Integer(-count));
        }
        joined.objects.insert(items[index], Object::Dictionary(item));
    }
    let mut dictionary = Dictionary::from_iter([
        ("Type", Object::Name(b"Outlines".to_vec())),
        ("Count", Object::Integer(items.len() as i64)),
    ]);
    if let Some((first, last)) = items.first().zip(items.last()) {
        dictionary.set("First", Object::Reference(*first));
        dictionary.set("Last", Object::Reference(*last));
    }
    joined.objects.insert(root, Object::Dictionary(dictionary));
    Ok(root)
}

/// Gives a document's own bookmarks a new parent; returns the first, the last and how many there are on that level.
fn adopt(joined: &mut Document, outline: ObjectId, parent: ObjectId) -> Option<(ObjectId, ObjectId, i64)> {
    let first = joined.get_dictionary(outline).ok()?.get(b"First").and_then(Object::as_reference).ok()?;
    let mut seen = BTreeMap::new();
    let (mut current, mut last) = (Some(first), first);
    while let Some(id) = current {
        // A ring, or something that is no bookmark: leave all of them behind.
        if seen.insert(id, ()).is_some() || seen.len() > BOOKMARKS_MAX {
            return None;
        }
        let item = joined.get_dictionary_mut(id).ok()?;
        item.set("Parent", Object::Reference(parent));
        last = id;
        current = item.get(b"Next").and_then(Object::as_reference).ok();
    }
    Some((first, last, seen.len() as i64))
}
