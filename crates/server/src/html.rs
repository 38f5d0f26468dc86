//! The frame of the server's own pages: plain HTML, styles from `/assets`, no script.

use axum::response::{Html, IntoResponse, Response};

use crate::assets;

/// A page.
pub(crate) fn page(title: &str, class: &str, body: &str) -> String {
    let (look, docs, icon) = (assets::url("look.css"), assets::url("docs.css"), assets::url("icon.svg"));
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · IUSign</title>\n\
         <link rel=\"icon\" href=\"{icon}\" type=\"image/svg+xml\">\n<link rel=\"stylesheet\" href=\"{look}\">\n\
         <link rel=\"stylesheet\" href=\"{docs}\">\n</head>\n<body class=\"book {class}\">\n{body}\n</body>\n</html>\n"
    )
}

/// The bar at the top of the server's own pages.
pub(crate) fn bar(here: &str) -> String {
    let links = [("/docs", "API reference"), ("/problems", "Problems"), ("/openapi.json", "openapi.json")];
    let links: String = links
        .iter()
        .map(|(href, text)| {
            let current = if *href == here { " aria-current=\"page\"" } else { "" };
            format!("<a href=\"{href}\"{current}>{text}</a>")
        })
        .collect();
    format!(
        "<header class=\"bar\"><a class=\"home\" href=\"/\"><span class=\"mark\" aria-hidden=\"true\">IU</span>IUSign</a>\
         <nav aria-label=\"Pages\">{links}</nav></header>"
    )
}

/// A page as an answer that browsers may keep a while, asking again each time.
pub(crate) fn answer(html: String) -> Response {
    ([(http::header::CACHE_CONTROL, "no-cache")], Html(html)).into_response()
}

/// Text that may stand anywhere in HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Prose of doc comments: blank lines part paragraphs, `code` is code.
pub(crate) fn prose(text: &str) -> String {
    text.split("\n\n")
        .filter(|part| !part.trim().is_empty())
        .map(|part| format!("<p>{}</p>", inline(&part.replace('\n', " "))))
        .collect()
}

/// One line of prose.
pub(crate) fn inline(text: &str) -> String {
    let mut parts = text.split('`');
    let mut out = escape(parts.next().unwrap_or_default());
    let rest: Vec<&str> = parts.collect();
    for pair in rest.chunks(2) {
        match pair {
            [code, prose] => out.push_str(&format!("<code>{}</code>{}", escape(code), escape(prose))),
            [odd] => out.push_str(&format!("`{}", escape(odd))),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape(r#"<a href="x">'&"#), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
        assert_eq!(
            prose("Use `a<b`,\nthen `c`.\n\nEnd"),
            "<p>Use <code>a&lt;b</code>, then <code>c</code>.</p><p>End</p>"
        );
        assert_eq!(inline("one ` alone"), "one ` alone");
    }
}
