//! Documents: a stranger's PDF comes in, is looked at by a worker, sealed dry, and only then stands in the database.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::Stream;
use gate::Pass;
use model::{
    Code, DocumentId, EnvScope, Problem, TenantId,
    audit::Entry,
    document::{DOCUMENT_BYTES_MAX, Document, DocumentBody, Page, clean_filename},
    template::{Content, ContentDocument},
};
use seal::pool::Pdf;
use serde_json::json;
use store::{StoreError, Stored};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{App, once::Once, paper::problem};

/// Pictures of one tenant that may wait to be drawn.
const PICTURES_WAITING_MAX: usize = 500;
/// Bytes of page pictures that are kept in memory.
const PICTURES_BYTES_MAX: usize = 64 * 1024 * 1024;

impl App {
    /// Receives a document's bytes. They are durable and belong to nothing yet.
    pub async fn receive_document<E>(
        &self,
        pass: &Pass,
        bytes: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Stored, Problem>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        self.files.put_stream(pass.scope(), DOCUMENT_BYTES_MAX, bytes).await.map_err(upload_problem)
    }

    /// Takes in what was received. It is refused here or it can be sealed: nobody finds out after everyone has signed.
    pub async fn create_document(
        &self,
        pass: &Pass,
        filename: &str,
        stored: Stored,
        once: &Once<Document>,
    ) -> Result<Document, Problem> {
        let scope = pass.scope();
        let original = self.pdf(scope, &stored.sha256).await?;
        let inspection = self.pool.inspect(&scope.tenant.to_string(), &original).await.map_err(problem)?;
        let working = match inspection.working_copy {
            Some(copy) => self.files.put(scope, copy).await?.sha256,
            None => stored.sha256.clone(),
        };
        let page = |page: &seal::Page| Page { width: page.width, height: page.height, rotation: page.rotation };
        let document = Document {
            id: self.id(),
            filename: clean_filename(filename),
            size: stored.size,
            sha256: stored.sha256,
            working,
            body: DocumentBody {
                pages: inspection.pages.iter().map(page).collect(),
                fonts_missing: inspection.fonts_missing,
                changes: inspection.changes,
                warnings: inspection.warnings,
                created_by: pass.caller().actor(),
            },
            created_at: self.now(),
        };
        let pinned = ContentDocument {
            id: document.id,
            filename: document.filename.clone(),
            sha256: document.sha256.clone(),
            working: document.working.clone(),
            pages: document.body.pages.clone(),
        };
        self.dry_seal(scope, &Content { documents: vec![pinned], fields: Vec::new() }).await?;
        let mut tx = self.begin(pass).await?;
        store::document::insert(&mut tx, scope, &document).await?;
        let record = json!({ "filename": document.filename, "sha256": document.sha256, "size": document.size });
        self.note(&mut tx, pass.caller(), Entry::created("document.created", document.id, record)).await?;
        once.keep(&mut tx, &document).await?;
        tx.commit().await?;
        Ok(document)
    }

    /// The document `id`.
    pub async fn get_document(&self, pass: &Pass, id: DocumentId) -> Result<Document, Problem> {
        let mut tx = self.read().await?;
        store::document::get(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)
    }

    /// A file as workers get it.
    pub(crate) async fn pdf(&self, scope: EnvScope, sha256: &str) -> Result<Pdf, Problem> {
        Ok(Arc::new(self.files.open_file(scope, sha256).await?))
    }

    /// A page's picture as PNG, drawn from the very bytes that are sealed, and remembered for a while.
    pub async fn page_picture(
        &self,
        scope: EnvScope,
        working_sha256: &str,
        page: u32,
        width_px: u32,
    ) -> Result<Vec<u8>, Problem> {
        let name = (scope, working_sha256.to_owned(), page, width_px);
        if let Some(picture) = self.pictures.get(&name) {
            return Ok(picture.to_vec());
        }
        let drawing = self.pictures.turn(scope.tenant, self.config.workers)?;
        let _turn = drawing.turn().await?;
        // Who waited for the same picture finds it now.
        if let Some(picture) = self.pictures.get(&name) {
            return Ok(picture.to_vec());
        }
        let pdf = self.pdf(scope, working_sha256).await?;
        let picture = self.pool.render(&scope.tenant.to_string(), &pdf, page, width_px).await.map_err(problem)?;
        self.pictures.keep(name, Bytes::from(picture.clone()));
        Ok(picture)
    }
}

fn upload_problem(error: StoreError) -> Problem {
    match error {
        StoreError::TooLong(limit) => {
            Problem::new(Code::BodyTooLarge, format!("A document has {} MiB at most.", limit / (1024 * 1024)))
        }
        other => match find_problem(&other) {
            Some(problem) => problem,
            None => other.into(),
        },
    }
}

/// The refusal that the request's body carried with it, such as that it ended early.
fn find_problem(error: &StoreError) -> Option<Problem> {
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        if let Some(problem) = one.downcast_ref::<Problem>() {
            return Some(problem.clone());
        }
        cause = one.source();
    }
    None
}

/// Which picture: whose, of which file, page and width.
type Name = (EnvScope, String, u32, u32);

/// Page pictures in memory, bounded in bytes; which goes first when it is full is left to chance.
#[derive(Default)]
pub struct Pictures {
    kept: Mutex<(HashMap<Name, Bytes>, usize)>,
    /// Per tenant, the queue for drawing: pictures take turns among themselves, so that however many are asked for, its
    /// seals wait for a few at most.
    queues: Mutex<HashMap<TenantId, Weak<Queue>>>,
}

/// A tenant's queue for drawing.
struct Queue {
    turns: Semaphore,
    waiting: AtomicUsize,
}

/// One who waits in a queue or whose turn it is.
struct Place(Arc<Queue>);

impl Place {
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.0.turns.acquire().await.map_err(Problem::fault)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pictures {
    /// A place in the tenant's queue; refused where too many wait.
    fn turn(&self, tenant: TenantId, workers: usize) -> Result<Place, Problem> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = match queues.get(&tenant).and_then(Weak::upgrade) {
            Some(queue) => queue,
            None => {
                queues.retain(|_, queue| queue.strong_count() > 0);
                let turns = Semaphore::new((workers / 2).max(1));
                let queue = Arc::new(Queue { turns, waiting: AtomicUsize::new(0) });
                queues.insert(tenant, Arc::downgrade(&queue));
                queue
            }
        };
        let waiting = queue.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(queue);
        if waiting < PICTURES_WAITING_MAX {
            return Ok(place);
        }
        Err(Problem::new(Code::Unavailable, "Too many pages are being drawn.").retry_after(2))
    }

    fn get(&self, name: &Name) -> Option<Bytes> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).0.get(name).cloned()
    }

    fn keep(&self, name: Name, picture: Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (pictures, bytes) = &mut *kept;
        if picture.len() > PICTURES_BYTES_MAX / 4 {
            return;
        }
        while *bytes + picture.len() > PICTURES_BYTES_MAX {
            let Some(victim) = pictures.keys().next().cloned() else { break };
            *bytes -= pictures.remove(&victim).map_or(0, |picture| picture.len());
        }
        *bytes += picture.len();
        if let Some(replaced) = pictures.insert(name, picture) {
            *bytes -= replaced.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_of_pictures_is_refused_and_keeps_no_other_tenant_waiting() {
        let pictures = Pictures::default();
        let id = |n| format!("ten_{n:026}").parse::<TenantId>().expect("an id");
        let places: Vec<_> = (0..PICTURES_WAITING_MAX).map(|_| pictures.turn(id(1), 4).expect("a place")).collect();
        assert_eq!(pictures.turn(id(1), 4).err().map(|problem| problem.code), Some(Code::Unavailable));
        let turns = (places[0].turn().await, places[1].turn().await);
        let is_waiting = tokio::time::timeout(std::time::Duration::from_millis(1), places[2].turn()).await.is_err();
        assert!(is_waiting, "half of the workers draw, the others seal");
        assert!(pictures.turn(id(2), 4).expect("a place").turn().await.is_ok());
        drop(turns);
        drop(places);
        assert!(pictures.turn(id(1), 4).is_ok(), "whoever goes leaves the place");
    }
}
