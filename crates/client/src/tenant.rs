//! The tenant: tier, allowlist and policies.

use api::tenant::{ChangeTenant, TenantDetails};

use crate::{Body, Client, Error};

impl Client {
    /// The tenant.
    pub async fn get_tenant(&self) -> Result<TenantDetails, Error> {
        self.get("v1/tenant", &[]).await
    }

    /// Changes the tenant: what is left out stays.
    pub async fn update_tenant(&self, change: &ChangeTenant) -> Result<TenantDetails, Error> {
        self.submit(reqwest::Method::PATCH, "v1/tenant", &[], &Body::json(change)?, None).await
    }
}
