//! `/v1` on the wire: types only, shared by server and client.

pub mod page;
pub mod problem;

pub use page::Page;
pub use problem::Problem;
