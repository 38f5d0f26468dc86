//! Rows on their way out: the header for a template, and the rows that could not be accepted, to be mended and put again.
//!
//! Files begin with a byte order mark: without it spreadsheets take UTF-8 for something else, and what they save then
//! stands in contracts.

use bytes::Bytes;
use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};
use futures::Stream;
use gate::Pass;
use model::{
    BatchId, Problem, TemplateId,
    row::{COLUMNS_MAX, Columns, Given, Header, REMARKS, neutralised},
};
use serde_json::{Map, Value};
use store::batch::BatchRow;

use super::header;
use crate::App;

/// The byte order mark in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Rows that are read and written at a time.
const PAGE_ROWS: u32 = 500;

impl App {
    /// The header row of a file for the template's latest version.
    pub async fn batch_header(&self, pass: &Pass, template: TemplateId) -> Result<Bytes, Problem> {
        let template = self.get_template(pass, template).await?;
        let names = Columns::of(&template.version).header();
        let mut writer = writer();
        writer.write_record(names.iter().map(|name| neutralised(name))).map_err(Problem::fault)?;
        finished(writer, true)
    }

    /// The rows that were not accepted as they were given, with what is wrong with them in front. Formulas are shown,
    /// not run. The gate is asked again before each page.
    pub async fn batch_errors(
        &self,
        pass: &Pass,
        id: BatchId,
    ) -> Result<impl Stream<Item = Result<Bytes, Problem>> + Send + use<>, Problem> {
        let mut tx = self.read().await?;
        let batch = store::batch::get(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let template = batch.template;
        let version = store::template::version(&mut tx, pass.scope(), template.id, template.version).await?;
        drop(tx);
        let version = version.ok_or_else(|| Problem::fault(format!("{id} has lost its template")))?;
        let columns = Columns::of(&version);
        let header = header(&batch, &columns)?;
        let names = match &batch.body.columns {
            Some(given) => {
                given.iter().zip(header.own()).filter(|(_, own)| *own).map(|(name, _)| name.clone()).collect()
            }
            None => self.member_names(pass, id, columns.header()).await?,
        };
        let export = Export { app: self.clone(), pass: pass.clone(), id, header, names, after: Some(0), begun: false };
        Ok(futures::stream::try_unfold(export, |mut export| async move {
            Ok(export.next().await?.map(|piece| (piece, export)))
        }))
    }

    /// The columns of JSON rows: the template's, and what else the faulty rows name.
    async fn member_names(&self, pass: &Pass, id: BatchId, mut names: Vec<String>) -> Result<Vec<String>, Problem> {
        let mut after = 0;
        loop {
            let mut tx = self.read().await?;
            let rows = store::batch::faulty_rows(&mut tx, pass.scope(), id, None, after, PAGE_ROWS).await?;
            let Some(last) = rows.last() else { return Ok(names) };
            after = last.number;
            for row in &rows {
                let Given::Members(members) = &row.given else { continue };
                for (name, _) in flat(members) {
                    if names.len() < COLUMNS_MAX && !names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                        names.push(name);
                    }
                }
            }
        }
    }
}

/// An `errors.csv` that is being written.
struct Export {
    app: App,
    pass: Pass,
    id: BatchId,
    header: Header,
    names: Vec<String>,
    /// The last row that was written; none at the end.
    after: Option<i64>,
    begun: bool,
}

impl Export {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(after) = self.after else { return Ok(None) };
        self.app.gate.readmit(&self.pass).await?;
        let mut tx = self.app.read().await?;
        let rows = store::batch::faulty_rows(&mut tx, self.pass.scope(), self.id, None, after, PAGE_ROWS).await?;
        drop(tx);
        let mut writer = writer();
        let is_first = !std::mem::replace(&mut self.begun, true);
        if is_first {
            let names = self.names.iter().map(|name| neutralised(name));
            writer.write_record(REMARKS.map(str::to_owned).into_iter().chain(names)).map_err(Problem::fault)?;
        }
        for row in &rows {
            writer.write_record(self.record(row)).map_err(Problem::fault)?;
        }
        self.after = rows.last().map(|row| row.number);
        finished(writer, is_first).map(Some)
    }

    fn record(&self, row: &BatchRow) -> Vec<String> {
        let errors: Vec<String> = row
            .errors
            .iter()
            .map(|error| match error.column.as_str() {
                "" => error.detail.clone(),
                column => format!("{column}: {}", error.detail),
            })
            .collect();
        let mut record = vec![row.line.to_string(), neutralised(&errors.join(" "))];
        match &row.given {
            Given::Cells(cells) => {
                let own: Vec<bool> = self.header.own().collect();
                // What has no column stands beyond the last one, as it was given.
                let cells = cells.iter().enumerate().filter(|(at, _)| own.get(*at).copied().unwrap_or(true));
                record.extend(cells.map(|(_, cell)| neutralised(self.header.cell(cell))));
            }
            Given::Members(members) => {
                let flat = flat(members);
                record.extend(self.names.iter().map(|name| {
                    let value =
                        flat.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
                    neutralised(&match value {
                        None | Some(Value::Null) => String::new(),
                        Some(Value::String(text)) => text.clone(),
                        Some(other) => other.to_string(),
                    })
                }));
            }
        }
        record
    }
}

/// A JSON row's members, those of nested objects by their whole names.
fn flat(members: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut all = Vec::with_capacity(members.len());
    for (name, value) in members {
        match value {
            Value::Object(inner) => all.extend(inner.iter().map(|(rest, value)| (format!("{name}.{rest}"), value))),
            value => all.push((name.clone(), value)),
        }
    }
    all
}

fn writer() -> Writer<Vec<u8>> {
    WriterBuilder::new()
        .flexible(true)
        .quote_style(QuoteStyle::Necessary)
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new())
}

fn finished(writer: Writer<Vec<u8>>, with_bom: bool) -> Result<Bytes, Problem> {
    let bytes = writer.into_inner().map_err(|error| Problem::fault(error.into_error()))?;
    Ok(if with_bom { [BOM, &bytes].concat().into() } else { bytes.into() })
}
