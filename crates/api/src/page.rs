//! One page of a list: cursors, never offsets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Items of a page when `limit` is left out.
pub const LIMIT_DEFAULT: u32 = 20;
/// Items of a page at most.
pub const LIMIT_MAX: u32 = 100;
/// Events of a page at most.
pub const EVENTS_LIMIT_MAX: u32 = 500;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub data: Vec<T>,
    /// Whether more follow at present.
    pub has_more: bool,
    /// Give this as `after` to go on; null at the end.
    pub next: Option<String>,
}
