//! The sweep: files that no row names go, once they are a day old. Refused uploads leave such files, and so does a crash.

use futures::TryStreamExt;
use model::{EnvScope, Problem, Timestamp, time::DAY_MS};
use store::Old;

use crate::App;

/// Younger files are spared: their row may be on its way.
const SPARED_MS: i64 = DAY_MS;
/// Files that are looked up at once.
const LOOKED_UP: usize = 500;

impl App {
    /// Removes what is old and named by no row; how many files went.
    pub async fn sweep_files(&self) -> Result<u64, Problem> {
        let before = self.now().plus(-SPARED_MS);
        let mut listed = self.files.older(before).try_chunks(LOOKED_UP);
        let mut removed = 0;
        while let Some(files) = listed.try_next().await.map_err(|error| Problem::from(error.1))? {
            // They come in the order of their addresses: those of a scope stand together.
            for of_scope in files.chunk_by(|one, next| one.scope == next.scope) {
                removed += self.sweep_scope(of_scope[0].scope, of_scope, before).await?;
            }
        }
        Ok(removed)
    }

    async fn sweep_scope(&self, scope: EnvScope, files: &[Old], before: Timestamp) -> Result<u64, Problem> {
        let digests: Vec<String> = files.iter().filter_map(|file| file.sha256.clone()).collect();
        let mut tx = self.read().await?;
        let unnamed = store::file::unnamed(&mut tx, scope, &digests).await?;
        drop(tx);
        let mut removed = 0;
        for file in files.iter().filter(|file| file.sha256.as_ref().is_none_or(|digest| unnamed.contains(digest))) {
            removed += u64::from(self.files.remove(file, before).await?);
        }
        Ok(removed)
    }
}
