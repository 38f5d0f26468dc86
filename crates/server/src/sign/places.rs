//! Where each field lies upon its page, as a stylesheet of the session: the policy allows no style within the page, and
//! this way it works without scripts.

use std::fmt::Write as _;

use app::room::Room;
use model::{
    document::Page,
    field::{Field, FieldKind},
};

/// The size of text in a field, in points, where its box is high enough: as the sealed file has it.
const TEXT_POINTS_MAX: f64 = 11.0;
/// The same for a typed signature.
const SCRIPT_POINTS_MAX: f64 = 28.0;
/// The height of a line of text against its size.
const LINE: f64 = 1.15;

/// The stylesheet. Percentages of the picture, so that it holds at every width.
pub(super) fn css(room: &Room) -> String {
    let mut marks = String::new();
    let mut fields = String::new();
    for (number, field) in (1..).zip(room.fields()) {
        let document = room.content.documents.iter().find(|document| document.id == field.document);
        let page = document.and_then(|document| document.pages.get((field.page as usize).checked_sub(1)?));
        let Some(page) = page else { continue };
        let place = place(field, page);
        let most = if field.kind == FieldKind::Signature { SCRIPT_POINTS_MAX } else { TEXT_POINTS_MAX };
        let size = share((field.height / LINE).min(most), page.width);
        // Writing to a String can't fail.
        let _ = writeln!(marks, ".s{number}{{{place};--size:{size:.3}cqw}}");
        let _ = writeln!(fields, ".p{number},.field.checkbox.p{number}{{{place};--size:{size:.3}cqw}}");
    }
    format!("{marks}@media (min-width:760px){{\n{fields}}}\n")
}

fn place(field: &Field, page: &Page) -> String {
    format!(
        "left:{:.4}%;top:{:.4}%;width:{:.4}%;height:{:.4}%",
        share(field.x, page.width),
        share(field.y, page.height),
        share(field.width, page.width),
        share(field.height, page.height),
    )
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole * 100.0).clamp(0.0, 100.0) } else { 0.0 }
}
