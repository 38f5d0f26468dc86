//! The audit log.

use api::{Page, audit::AuditEntry};

use crate::{Client, Error};

impl Client {
    /// A page of the audit log, the newest first.
    pub async fn list_audit(&self, query: &[(&str, &str)]) -> Result<Page<AuditEntry>, Error> {
        self.get("v1/audit", query).await
    }
}
