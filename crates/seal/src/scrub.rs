//! Takes out of a working copy what acts by itself: scripts, links out of the document, embedded files.

use std::collections::{BTreeMap, BTreeSet};

use lopdf::{Dictionary, Document, Object, ObjectId};

/// Actions that leave the document or run something, and their names in the list of changes.
const ACTIONS: [(&[u8], &str); 12] = [
    (b"JavaScript", "script"),
    (b"Launch", "program start"),
    (b"URI", "web link"),
    (b"SubmitForm", "form submission"),
    (b"ImportData", "data import"),
    (b"GoToR", "link to another file"),
    (b"GoToE", "link to an embedded file"),
    (b"Rendition", "media action"),
    (b"Movie", "media action"),
    (b"Sound", "media action"),
    (b"GoTo3DView", "media action"),
    (b"RichMediaExecute", "media action"),
];
/// Annotations that carry files or media.
const ANNOTATIONS: [(&[u8], &str); 6] = [
    (b"FileAttachment", "attached file"),
    (b"RichMedia", "media annotation"),
    (b"Screen", "media annotation"),
    (b"Movie", "media annotation"),
    (b"Sound", "media annotation"),
    (b"3D", "media annotation"),
];
/// Keys under which an action hangs.
const ACTION_KEYS: [&[u8]; 4] = [b"A", b"OpenAction", b"Next", b"PA"];
/// How deep direct objects are followed; the parser reads none that are deeper.
const DEPTH_MAX: usize = 200;

type Counts = BTreeMap<&'static str, u32>;

/// Removes what acts by itself. Answers one sentence for each kind of thing that was removed.
pub fn scrub(document: &mut Document) -> Vec<String> {
    let mut counts = Counts::new();
    let actions: BTreeSet<ObjectId> =
        document.objects.iter().filter(|(_, object)| action(object).is_some()).map(|(id, _)| *id).collect();
    let annotations: BTreeMap<ObjectId, &'static str> =
        document.objects.iter().filter_map(|(id, object)| Some((*id, carrier(object)?))).collect();
    for id in &actions {
        if let Some(name) = document.objects.remove(id).as_ref().and_then(action) {
            *counts.entry(name).or_default() += 1;
        }
    }
    for id in annotations.keys() {
        document.objects.remove(id);
    }
    for object in document.objects.values_mut() {
        clean(object, &actions, &annotations, &mut counts, 0);
    }
    clean_catalog(document, &mut counts);
    let changes: Vec<String> = counts.iter().map(|(name, count)| sentence(name, *count)).collect();
    if !changes.is_empty() {
        document.prune_objects();
    }
    changes
}

fn sentence(name: &str, count: u32) -> String {
    let (plural, were) = if count == 1 { ("", "was") } else { ("s", "were") };
    format!("{count} {name}{plural} {were} removed.")
}

/// The name of the action that this object is, if it is one to remove.
fn action(object: &Object) -> Option<&'static str> {
    let kind = object.as_dict().ok()?.get(b"S").and_then(Object::as_name).ok()?;
    ACTIONS.iter().find(|(name, _)| *name == kind).map(|(_, name)| *name)
}

/// What this annotation carries, if it is one to remove.
fn carrier(object: &Object) -> Option<&'static str> {
    let dictionary = object.as_dict().ok()?;
    let kind = dictionary.get(b"Subtype").and_then(Object::as_name).ok()?;
    let annotation = dictionary.has(b"Rect");
    ANNOTATIONS.iter().find(|(name, _)| annotation && *name == kind).map(|(_, name)| *name)
}

fn clean(
    object: &mut Object,
    actions: &BTreeSet<ObjectId>,
    annotations: &BTreeMap<ObjectId, &'static str>,
    counts: &mut Counts,
    depth: usize,
) {
    if depth > DEPTH_MAX {
        *object = Object::Null;
        return;
    }
    match object {
        Object::Array(items) => {
            items.retain(|item| {
                let removed = match item {
                    Object::Reference(id) => annotations.get(id).copied(),
                    direct => carrier(direct),
                };
                if let Some(name) = removed {
                    *counts.entry(name).or_default() += 1;
                }
                let direct_action = action(item);
                if let Some(name) = direct_action {
                    *counts.entry(name).or_default() += 1;
                }
                removed.is_none() && direct_action.is_none() && !refers(item, actions)
            });
            for item in items {
                clean(item, actions, annotations, counts, depth + 1);
            }
        }
        Object::Dictionary(dictionary) => clean_dictionary(dictionary, actions, annotations, counts, depth),
        Object::Stream(stream) => clean_dictionary(&mut stream.dict, actions, annotations, counts, depth),
        _ => {}
    }
}

fn clean_dictionary(
    dictionary: &mut Dictionary,
    actions: &BTreeSet<ObjectId>,
    annotations: &BTreeMap<ObjectId, &'static str>,
    counts: &mut Counts,
    depth: usize,
) {
    for key in ACTION_KEYS {
        let Ok(value) = dictionary.get(key) else { continue };
        if let Some(name) = action(value) {
            *counts.entry(name).or_default() += 1;
        } else if !refers(value, actions) {
            continue;
        }
        dictionary.remove(key);
    }
    // Actions on events (a page is opened, a field loses the focus) are scripts, or might as well be.
    if acts(dictionary) && dictionary.get(b"AA").is_ok_and(holds) {
        dictionary.remove(b"AA");
        *counts.entry("automatic action").or_default() += 1;
    }
    if names_file(dictionary) && dictionary.get(b"EF").is_ok_and(holds) {
        dictionary.remove(b"EF");
        *counts.entry("embedded file").or_default() += 1;
    }
    for (_, value) in dictionary.iter_mut() {
        clean(value, actions, annotations, counts, depth + 1);
    }
}

fn holds(value: &Object) -> bool {
    matches!(value, Object::Dictionary(_) | Object::Reference(_))
}

/// Whether `/AA` means actions here: elsewhere it may be the name of a font.
fn acts(dictionary: &Dictionary) -> bool {
    let typed = [b"Catalog".as_slice(), b"Page", b"Annot"].iter().any(|name| dictionary.has_type(name));
    typed || dictionary.has(b"FT") || dictionary.has(b"Rect") || dictionary.has(b"Parent")
}

/// Whether `/EF` means an embedded file here.
fn names_file(dictionary: &Dictionary) -> bool {
    let text = |key: &[u8]| matches!(dictionary.get(key), Ok(Object::String(..)));
    dictionary.has_type(b"Filespec") || dictionary.has_type(b"F") || text(b"F") || text(b"UF")
}

fn refers(object: &Object, ids: &BTreeSet<ObjectId>) -> bool {
    object.as_reference().is_ok_and(|id| ids.contains(&id))
}

/// The catalog's own lists of scripts and files.
fn clean_catalog(document: &mut Document, counts: &mut Counts) {
    let names = document.catalog().ok().and_then(|catalog| catalog.get(b"Names").ok()).cloned();
    let mut cut = |names: &mut Dictionary| {
        if names.remove(b"JavaScript").is_some() {
            counts.entry("script").or_insert(1);
        }
        if names.remove(b"EmbeddedFiles").is_some() {
            counts.entry("embedded file").or_insert(1);
        }
    };
    match names {
        Some(Object::Reference(id)) => {
            if let Ok(names) = document.get_dictionary_mut(id) {
                cut(names);
            }
        }
        Some(Object::Dictionary(_)) => {
            if let Ok(names) = document.catalog_mut().and_then(|catalog| catalog.get_mut(b"Names"))
                && let Ok(names) = names.as_dict_mut()
            {
                cut(names);
            }
        }
        _ => {}
    }
    if let Ok(catalog) = document.catalog_mut() {
        for key in [b"AF".as_slice(), b"Collection"] {
            if catalog.remove(key).is_some() {
                counts.entry("embedded file").or_insert(1);
            }
        }
        // Rights that a program's maker granted by a signature over the file: any change revokes them with an alarm.
        if catalog.remove(b"Perms").is_some() {
            counts.entry("usage right").or_insert(1);
        }
    }
}
