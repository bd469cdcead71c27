//! Documents as one page that needs nothing else: plots are in it, as SVG.

use std::fmt::Write as _;

use super::{Document, Table, Text};

const STYLE: &str = include_str!("../../assets/report.css");

/// A scenario as the page shows it.
#[derive(Debug, Clone)]
pub struct Section {
    /// What is told.
    pub document: Document,
    /// What is shown, as SVG, with the title of each.
    pub plots: Vec<(String, String)>,
}

/// The page.
#[must_use]
pub fn render(sections: &[Section]) -> String {
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Framecast: what each model costs</title>\n",
    );
    let _ = writeln!(out, "<style>{STYLE}</style>");
    out.push_str("<main>\n<h1>What each model costs</h1>\n");
    if sections.iter().any(|section| section.document.is_quick) {
        out.push_str("<p class=\"warning\">Quick run, not for quoting.</p>\n");
    }
    contents(&mut out, sections);
    for section in sections {
        render_section(&mut out, section);
    }
    out.push_str("</main>\n</html>\n");
    out
}

/// Questions with their answers, each a link to where they come from.
fn contents(out: &mut String, sections: &[Section]) {
    out.push_str("<nav aria-label=\"Scenarios\">\n<dl>\n");
    for Section { document, .. } in sections {
        let [name, question, answer] =
            [&document.name, &document.question, &document.answer].map(|text| escaped(text));
        let _ = writeln!(
            out,
            "<dt><a href=\"#{name}\">{question}</a></dt>\n<dd>{answer}</dd>"
        );
    }
    out.push_str("</dl>\n</nav>\n");
}

fn render_section(out: &mut String, section: &Section) {
    let Section { document, plots } = section;
    let [name, question, answer, method] = [
        &document.name,
        &document.question,
        &document.answer,
        &document.method,
    ]
    .map(|text| escaped(text));
    let _ = writeln!(
        out,
        "<section id=\"{name}\">\n<h2>{name}</h2>\n<p>{question}</p>\n<p class=\"answer\">{answer}</p>"
    );
    for (title, svg) in plots {
        let title = escaped(title);
        // The picture has its own title; this one is for those who do not see it.
        let _ = writeln!(
            out,
            "<figure role=\"img\" aria-label=\"{title}\">\n<div class=\"wide\" tabindex=\"0\">{svg}</div>\n</figure>"
        );
    }
    for table in &document.tables {
        render_table(out, table);
    }
    let _ = writeln!(out, "<p class=\"method\">{method}</p>");
    list(out, "Not measured", &document.missing);
    list(out, "Doubts", &document.doubts);
    out.push_str("<h3>The machine</h3>\n<dl class=\"machine\">\n");
    for (name, value) in &document.machine {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
    }
    let repeat = escaped(&document.repeat);
    let _ = writeln!(
        out,
        "</dl>\n<p>To repeat: <code>{repeat}</code></p>\n</section>"
    );
}

fn render_table(out: &mut String, table: &Table) {
    let caption = escaped(&table.caption);
    let _ = writeln!(
        out,
        "<div class=\"wide\" tabindex=\"0\">\n<table>\n<caption>{caption}</caption>\n<thead><tr>"
    );
    for name in &table.head {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        let cells = row.iter().map(cell).collect::<String>();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

fn cell(text: &Text) -> String {
    let words = escaped(&text.text);
    if text.is_bold {
        format!("<td><strong>{words}</strong></td>")
    } else {
        format!("<td>{words}</td>")
    }
}

fn list(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "<h3>{title}</h3>\n<ul>");
    for line in lines {
        let _ = writeln!(out, "<li>{}</li>", escaped(line));
    }
    out.push_str("</ul>\n");
}

/// What can stand in text and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(sign),
        }
    }
    out
}
