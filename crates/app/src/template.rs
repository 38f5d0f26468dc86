//! Templates: create, get, list.

use gate::Pass;
use model::{
    BodyError, DocumentId, EnvScope, Problem, TemplateId,
    audit::Entry,
    content::{self, Found, NewField},
    envelope::Message,
    envelope_new::{self, NewRecipient, check_message, check_title},
    recipient::RecipientKind,
    template::{Content, Role, Template, TemplateVersion},
};

use serde_json::json;

use crate::{App, once::Once};

/// A template as a sender asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTemplate {
    /// Its name.
    pub name: String,
    /// The title of what is made from it; its name where none is given.
    pub title: Option<String>,
    /// Its documents.
    pub documents: Vec<DocumentId>,
    /// Its roles: name, what it is asked for, its turn.
    pub roles: Vec<(String, Option<RecipientKind>, Option<u32>)>,
    /// Its fields.
    pub fields: Vec<NewField>,
    /// The mail's words.
    pub message: Message,
}

impl App {
    /// Makes a template in version 1. Its fields are placed and sealed dry, so that nobody finds out after everyone has signed.
    pub async fn create_template(
        &self,
        pass: &Pass,
        new: NewTemplate,
        once: &Once<Template>,
    ) -> Result<Template, Problem> {
        let (roles, mut errors) = match roles(&new.roles) {
            Ok(roles) => (roles, Vec::new()),
            Err(problem) => (Vec::new(), problem.errors),
        };
        check_title("/name", &new.name, &mut errors);
        if let Some(title) = &new.title {
            check_title("/title", title, &mut errors);
        }
        check_message(&new.message, &mut errors);
        if !errors.is_empty() {
            return Err(Problem::body(errors));
        }
        let content = self.place(pass.scope(), &new.documents, &roles, &new.fields).await?;
        self.dry_seal(pass.scope(), &content).await?;
        let version = TemplateVersion {
            number: 1,
            title: new.title.unwrap_or_else(|| new.name.clone()),
            roles,
            content,
            message: new.message,
        };
        let template = Template { id: self.id(), name: new.name, created_at: self.now(), version };
        let mut tx = self.begin(pass).await?;
        store::template::insert(&mut tx, pass.scope(), &template).await?;
        let record = json!({ "name": template.name, "version": template.version.number });
        self.note(&mut tx, pass.caller(), Entry::created("template.created", template.id, record)).await?;
        once.keep(&mut tx, &template).await?;
        tx.commit().await?;
        Ok(template)
    }

    /// The template `id` in its latest version.
    pub async fn get_template(&self, pass: &Pass, id: TemplateId) -> Result<Template, Problem> {
        let mut tx = self.read().await?;
        store::template::get(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)
    }

    /// A page of templates, newest first, one more than `limit`.
    pub async fn list_templates(
        &self,
        pass: &Pass,
        after: Option<TemplateId>,
        limit: u32,
    ) -> Result<Vec<Template>, Problem> {
        let mut tx = self.read().await?;
        Ok(store::template::list(&mut tx, pass.scope(), after, limit.saturating_add(1)).await?)
    }

    /// Places fields on documents. Anchors are looked for by the worker, before any transaction begins.
    pub(crate) async fn place(
        &self,
        scope: EnvScope,
        ids: &[DocumentId],
        roles: &[Role],
        fields: &[NewField],
    ) -> Result<Content, Problem> {
        let documents = self.documents_of(scope, ids).await?;
        let mut found = std::collections::HashMap::<(DocumentId, String), Vec<Found>>::new();
        for (at, document) in documents.iter().enumerate() {
            let mut texts: Vec<String> = fields
                .iter()
                .filter(|field| field.document.map_or(at == 0, |id| id == document.id))
                .filter_map(|field| match &field.place {
                    content::Place::Anchor { text, .. } if text.chars().count() <= content::ANCHOR_CHARS_MAX => {
                        Some(text.clone()).filter(|text| !text.trim().is_empty())
                    }
                    _ => None,
                })
                .collect();
            texts.sort();
            texts.dedup();
            if texts.is_empty() {
                continue;
            }
            let pdf = self.pdf(scope, &document.working).await?;
            let boxes = self.pool.find_text(&scope.tenant.to_string(), &pdf, texts.clone()).await;
            for (text, boxes) in texts.into_iter().zip(boxes.map_err(crate::paper::problem)?) {
                let places = boxes.iter().map(|at| Found { page: at.page, x: at.x, y: at.y }).collect();
                found.insert((document.id, text), places);
            }
        }
        let find = |id: DocumentId, text: &str| found.get(&(id, text.to_owned())).cloned().unwrap_or_default();
        content::place(&documents, roles, fields, &find).map_err(Problem::body)
    }
}

/// A template's roles: the same rules as for recipients, at the template's pointers.
fn roles(given: &[(String, Option<RecipientKind>, Option<u32>)]) -> Result<Vec<Role>, Problem> {
    let recipients: Vec<_> = given
        .iter()
        .map(|(name, kind, order)| NewRecipient {
            role: Some(name.clone()),
            kind: *kind,
            order: *order,
            ..NewRecipient::default()
        })
        .collect();
    envelope_new::roles(&recipients).map_err(|errors| {
        Problem::body(
            errors
                .into_iter()
                .map(|error| BodyError {
                    pointer: error
                        .pointer
                        .replace("/recipients", "/roles")
                        .replace("/role", "/name")
                        .replace("/names", "/roles"),
                    ..error
                })
                .collect(),
        )
    })
}
