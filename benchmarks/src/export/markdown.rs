//! A document as Markdown.

use std::fmt::Write as _;

use super::{Document, Table, Text};

/// The document as text. `pictures` are names of files beside it, with what they show.
#[must_use]
pub fn render(document: &Document, pictures: &[(String, String)]) -> String {
    let mut out = format!("# {}\n\n", document.name);
    if document.is_quick {
        out.push_str("**Quick run, not for quoting.**\n\n");
    }
    let _ = writeln!(
        out,
        "{}\n\n**{}**\n\n{}",
        document.question, document.answer, document.method
    );
    for table in &document.tables {
        out.push_str(&self::table(table));
    }
    for (file, shows) in pictures {
        let _ = writeln!(out, "\n![{shows}]({file})");
    }
    list(&mut out, "Not measured", &document.missing);
    list(&mut out, "Doubts", &document.doubts);
    let machine = document
        .machine
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    list(&mut out, "The machine", &machine.collect::<Vec<_>>());
    let _ = writeln!(out, "\nTo repeat: `{}`", document.repeat);
    out
}

/// A table with its caption.
#[must_use]
pub fn table(table: &Table) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\n{}\n", table.caption);
    let _ = writeln!(out, "| {} |", table.head.join(" | "));
    let _ = writeln!(out, "|{}", "---|".repeat(table.head.len()));
    for row in &table.rows {
        let texts = row.iter().map(cell);
        let _ = writeln!(out, "| {} |", texts.collect::<Vec<_>>().join(" | "));
    }
    out
}

fn cell(text: &Text) -> String {
    let words = text.text.replace('|', "\\|");
    if text.is_bold {
        format!("**{words}**")
    } else {
        words
    }
}

fn list(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## {title}\n");
    for line in lines {
        let _ = writeln!(out, "* {line}");
    }
}
