//! One rule for where things are: between the page as displayed (origin top left, points) and the page's own user space.

use hayro::hayro_syntax::page::{Page as HayroPage, Rotation};
use lopdf::{Dictionary, Document, Object, ObjectId};

use crate::types::{Page, SealError};

/// The shortest side of a page, in points as displayed.
pub const SIDE_POINTS_MIN: f64 = 1.0;
/// The longest side of a page, in points as displayed: 1,000 inches.
pub const SIDE_POINTS_MAX: f64 = 72_000.0;
/// How far apart two parsers may see the same corner, in points: one of them reads 32-bit floats.
const AGREE_POINTS: f64 = 0.01;
/// How deep a page may lie in the page tree.
const TREE_DEPTH_MAX: usize = 256;

/// Where a page lies in its user space, and how it is turned for display.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// CropBox ∩ MediaBox, corners normalised: left, bottom, right, top in user space.
    pub crop: [f64; 4],
    /// Degrees clockwise: 0, 90, 180 or 270.
    pub rotation: u16,
    /// Points for each unit of user space.
    pub user_unit: f64,
}

/// An affine map `[a b c d e f]`, as PDF writes it: `x' = a·x + c·y + e`, `y' = b·x + d·y + f`.
pub type Matrix = [f64; 6];

/// Sends a point through a matrix.
pub fn apply(matrix: Matrix, x: f64, y: f64) -> (f64, f64) {
    let [a, b, c, d, e, f] = matrix;
    (a * x + c * y + e, b * x + d * y + f)
}

/// First `first`, then `second`.
pub fn then(first: Matrix, second: Matrix) -> Matrix {
    let (e, f) = apply(second, first[4], first[5]);
    let [a, b, c, d, _, _] = second;
    [
        a * first[0] + c * first[1],
        b * first[0] + d * first[1],
        a * first[2] + c * first[3],
        b * first[2] + d * first[3],
        e,
        f,
    ]
}

impl Geometry {
    /// The geometry of a page as lopdf sees it. Boxes, Rotate and UserUnit that make no sense are refused.
    pub fn of_lopdf(document: &Document, page: ObjectId) -> Result<Self, SealError> {
        let media = inherited(document, page, b"MediaBox")
            .and_then(|object| rectangle(document, object))
            .ok_or_else(|| SealError::damaged("it has no MediaBox"))?;
        let crop = inherited(document, page, b"CropBox").and_then(|object| rectangle(document, object));
        let rotation = inherited(document, page, b"Rotate").and_then(number).unwrap_or(0.0);
        let own = document.get_dictionary(page).map_err(|_| SealError::damaged("it is not a dictionary"))?;
        let user_unit = own.get_deref(b"UserUnit", document).ok().and_then(number).unwrap_or(1.0);
        Self::new(media, crop.unwrap_or(media), turn(rotation), user_unit)
    }

    /// The geometry of a page as hayro sees it.
    pub fn of_hayro(page: &HayroPage<'_>) -> Result<Self, SealError> {
        let corners = |rect: hayro::hayro_syntax::object::Rect| [rect.x0, rect.y0, rect.x1, rect.y1];
        let rotation = match page.rotation() {
            Rotation::None => 0,
            Rotation::Horizontal => 90,
            Rotation::Flipped => 180,
            Rotation::FlippedHorizontal => 270,
        };
        let user_unit = page.raw().get::<f64>(b"UserUnit".as_slice()).unwrap_or(1.0);
        Self::new(normalised(corners(page.media_box())), normalised(corners(page.crop_box())), rotation, user_unit)
    }

    fn new(media: [f64; 4], crop: [f64; 4], rotation: u16, user_unit: f64) -> Result<Self, SealError> {
        let crop = [crop[0].max(media[0]), crop[1].max(media[1]), crop[2].min(media[2]), crop[3].min(media[3])];
        if !user_unit.is_finite() || user_unit <= 0.0 {
            return Err(SealError::damaged("its UserUnit is not a positive number"));
        }
        let sides = [(crop[2] - crop[0]) * user_unit, (crop[3] - crop[1]) * user_unit];
        if crop.iter().chain(&sides).any(|value| !value.is_finite()) || sides.iter().any(|side| *side < SIDE_POINTS_MIN)
        {
            return Err(SealError::damaged("it has no area"));
        }
        if sides.iter().any(|side| *side > SIDE_POINTS_MAX) {
            let [width, height] = sides;
            return Err(SealError::too_complex(format!(
                "it measures {width:.0} × {height:.0} points; {SIDE_POINTS_MAX:.0} points (1,000 inches) are accepted each way"
            )));
        }
        Ok(Self { crop, rotation, user_unit })
    }

    /// Whether two parsers saw the same.
    pub fn agrees(&self, other: &Self) -> bool {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= AGREE_POINTS + a.abs() * 1e-6;
        self.rotation == other.rotation
            && (self.user_unit - other.user_unit).abs() <= 1e-6 * self.user_unit
            && self.crop.iter().zip(&other.crop).all(near)
    }

    /// Width and height as displayed, in points.
    pub fn displayed(&self) -> (f64, f64) {
        let [x0, y0, x1, y1] = self.crop;
        let (width, height) = ((x1 - x0) * self.user_unit, (y1 - y0) * self.user_unit);
        if self.rotation % 180 == 90 { (height, width) } else { (width, height) }
    }

    /// What intake answers for this page.
    pub fn page(&self) -> Page {
        let (width, height) = self.displayed();
        Page { width, height, rotation: self.rotation }
    }

    /// From the page as displayed (points, y downward) to user space.
    pub fn to_user(&self) -> Matrix {
        let [x0, y0, x1, y1] = self.crop;
        let unit = 1.0 / self.user_unit;
        match self.rotation {
            90 => [0.0, unit, unit, 0.0, x0, y0],
            180 => [-unit, 0.0, 0.0, unit, x1, y0],
            270 => [0.0, -unit, -unit, 0.0, x1, y1],
            _ => [unit, 0.0, 0.0, -unit, x0, y1],
        }
    }

    /// From user space to the page as displayed (points, y downward).
    pub fn to_displayed(&self) -> Matrix {
        let [x0, y0, x1, y1] = self.crop;
        let unit = self.user_unit;
        match self.rotation {
            90 => [0.0, unit, unit, 0.0, -y0 * unit, -x0 * unit],
            180 => [-unit, 0.0, 0.0, unit, x1 * unit, -y0 * unit],
            270 => [0.0, -unit, -unit, 0.0, y1 * unit, x1 * unit],
            _ => [unit, 0.0, 0.0, -unit, -x0 * unit, y1 * unit],
        }
    }

    /// The `cm` for what is drawn in a box of the page as displayed: its own origin is the box's bottom left,
    /// y upward, one unit a displayed point; `x` and `y` are the box's top left corner.
    pub fn box_to_user(&self, x: f64, y: f64, height: f64) -> Matrix {
        then([1.0, 0.0, 0.0, -1.0, x, y + height], self.to_user())
    }
}

/// An attribute of a page, its own or inherited. A tree that bites its tail ends the search.
pub fn inherited<'a>(document: &'a Document, page: ObjectId, key: &[u8]) -> Option<&'a Object> {
    let mut node: &Dictionary = document.get_dictionary(page).ok()?;
    for _ in 0..TREE_DEPTH_MAX {
        if let Ok(object) = node.get_deref(key, document) {
            return Some(object);
        }
        node = node.get_deref(b"Parent", document).and_then(Object::as_dict).ok()?;
    }
    None
}

/// Four numbers as left, bottom, right, top.
pub fn rectangle(document: &Document, object: &Object) -> Option<[f64; 4]> {
    let array = object.as_array().ok()?;
    let mut values = [0.0; 4];
    if array.len() != values.len() {
        return None;
    }
    for (value, item) in values.iter_mut().zip(array) {
        *value = document.dereference(item).ok().and_then(|(_, item)| number(item))?;
    }
    Some(normalised(values))
}

fn normalised([x0, y0, x1, y1]: [f64; 4]) -> [f64; 4] {
    [x0.min(x1), y0.min(y1), x0.max(x1), y0.max(y1)]
}

fn number(object: &Object) -> Option<f64> {
    match object {
        Object::Integer(value) => Some(*value as f64),
        Object::Real(value) => Some(f64::from(*value)),
        _ => None,
    }
}

/// Rotate modulo 360; what is no quarter turn counts as none, as in the renderer.
fn turn(degrees: f64) -> u16 {
    match (degrees as i64).rem_euclid(360) {
        90 => 90,
        180 => 180,
        270 => 270,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_turn_maps_there_and_back() {
        for rotation in [0, 90, 180, 270] {
            let geometry =
                Geometry::new([0.0, 0.0, 612.0, 792.0], [10.0, 20.0, 410.0, 620.0], rotation, 2.0).expect("a page");
            for (x, y) in [(0.0, 0.0), (100.0, 30.0), (799.0, 800.0)] {
                let (ux, uy) = apply(geometry.to_user(), x, y);
                let (bx, by) = apply(geometry.to_displayed(), ux, uy);
                assert!((bx - x).abs() < 1e-9 && (by - y).abs() < 1e-9, "{rotation}: {x},{y} came back as {bx},{by}");
            }
        }
    }

    #[test]
    fn the_top_left_of_a_turned_page_is_the_corner_that_the_turn_puts_there() {
        let corner = |rotation| {
            let geometry =
                Geometry::new([0.0, 0.0, 200.0, 300.0], [0.0, 0.0, 200.0, 300.0], rotation, 1.0).expect("a page");
            apply(geometry.to_user(), 0.0, 0.0)
        };
        assert_eq!(corner(0), (0.0, 300.0));
        assert_eq!(corner(90), (0.0, 0.0));
        assert_eq!(corner(180), (200.0, 0.0));
        assert_eq!(corner(270), (200.0, 300.0));
    }

    #[test]
    fn a_box_keeps_its_size_and_its_way_up() {
        let geometry = Geometry::new([0.0, 0.0, 200.0, 300.0], [0.0, 0.0, 200.0, 300.0], 90, 1.0).expect("a page");
        let matrix = geometry.box_to_user(50.0, 20.0, 10.0);
        let back = |x, y| {
            let (ux, uy) = apply(matrix, x, y);
            apply(geometry.to_displayed(), ux, uy)
        };
        assert_eq!(back(0.0, 0.0), (50.0, 30.0));
        assert_eq!(back(40.0, 10.0), (90.0, 20.0));
    }
}
