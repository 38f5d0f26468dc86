//! Templates.

use api::{
    Page,
    template::{NewTemplate, Template},
};

use crate::{Client, Error};

impl Client {
    /// Makes a template.
    pub async fn create_template(&self, new: &NewTemplate) -> Result<Template, Error> {
        self.post("v1/templates", new).await
    }

    /// A page of templates, the newest first.
    pub async fn list_templates(&self, query: &[(&str, &str)]) -> Result<Page<Template>, Error> {
        self.get("v1/templates", query).await
    }

    /// A template in its latest version.
    pub async fn get_template(&self, id: &str) -> Result<Template, Error> {
        self.get(&format!("v1/templates/{id}"), &[]).await
    }
}
