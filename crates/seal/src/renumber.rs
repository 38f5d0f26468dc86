//! Gives every object generation 0: a file that is written whole has no older revisions, and strict readers refuse other numbers.

use std::collections::BTreeMap;

use lopdf::{Document, Object, ObjectId};

/// Renumbers the objects whose number was used more than once, and all references to them.
pub(crate) fn without_generations(document: &mut Document) {
    let mut new_ids: BTreeMap<ObjectId, ObjectId> = BTreeMap::new();
    let mut next = document.max_id;
    for id in document.objects.keys().filter(|(_, generation)| *generation != 0) {
        next = next.saturating_add(1);
        new_ids.insert(*id, (next, 0));
    }
    if new_ids.is_empty() {
        return;
    }
    document.max_id = next;
    for (old, new) in &new_ids {
        if let Some(object) = document.objects.remove(old) {
            document.objects.insert(*new, object);
        }
    }
    let mut open: Vec<&mut Object> = document.objects.values_mut().collect();
    open.extend(document.trailer.iter_mut().map(|(_, value)| value));
    while let Some(object) = open.pop() {
        match object {
            Object::Reference(id) => {
                if let Some(new) = new_ids.get(id) {
                    *id = *new;
                }
            }
            Object::Array(items) => open.extend(items),
            Object::Dictionary(dictionary) => open.extend(dictionary.iter_mut().map(|(_, value)| value)),
            Object::Stream(stream) => open.extend(stream.dict.iter_mut().map(|(_, value)| value)),
            _ => {}
        }
    }
}
