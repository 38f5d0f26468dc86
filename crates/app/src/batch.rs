//! Batches: many envelopes made from a template and a file of rows.

use model::Problem;
use store::job::Job;

use crate::{App, job::Outcome};

/// Takes one step of a batch.
pub(crate) async fn run(_app: &App, _job: &Job) -> Result<Outcome, Problem> {
    Ok(Outcome::Done)
}
