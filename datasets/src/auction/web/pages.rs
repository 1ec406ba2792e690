//! Pages with holes, in many languages, compiled when a component of the front starts.

use std::sync::Arc;

use crate::auction::container::StartError;
use crate::auction::message::CallError;
use crate::auction::store::{LANGUAGES, PHRASES, Store};
use crate::auction::table::{Damage, Table};

/// A page of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Home,
    Category,
    Search,
    Item,
    History,
    Quote,
    Placed,
    Welcome,
    Checked,
    Account,
    Bye,
}

/// A piece of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `{name}`: filled with text, escaped.
    Hole(String),
    /// `{&name}`: filled with HTML, as it is.
    Html(String),
}

type Template = Arc<[Piece]>;

/// The pages of one component, in every language.
pub(super) struct Pages {
    order: Vec<Page>,
    /// By language, then in `order`.
    templates: Table<Template>,
    /// By language, then by number: what pages begin with.
    phrases: Table<Template>,
}

impl Pages {
    pub(super) fn load(store: &Store, pages: &[(Page, &'static str)]) -> Result<Self, StartError> {
        let connection = store.open()?;
        let mut query = connection.prepare("SELECT text FROM phrases ORDER BY language, number")?;
        let mut rows = query.query([])?;
        let mut phrases = Vec::new();
        while let Some(row) = rows.next()? {
            phrases.push(compile(row.get_ref(0)?.as_str()?));
        }
        let wanted = (LANGUAGES * PHRASES) as usize;
        if phrases.len() != wanted {
            return Err(format!("{} phrases instead of {wanted}", phrases.len()).into());
        }
        let each_language = (0..LANGUAGES).flat_map(|_| pages);
        let templates: Vec<_> = each_language.map(|(_, html)| compile(html)).collect();
        Ok(Self {
            order: pages.iter().map(|(page, _)| *page).collect(),
            templates: Table::new(templates),
            phrases: Table::new(phrases),
        })
    }

    /// The page in a language; holes without a value stay empty.
    pub(super) fn fill(
        &self,
        page: Page,
        language: u32,
        holes: &[(&str, &str)],
    ) -> Result<String, CallError> {
        let language = (language % LANGUAGES) as usize;
        let place = self.order.iter().position(|&known| known == page);
        let place = place.ok_or_else(|| CallError::NotFound(format!("page {page:?}")))?;
        let template = self.templates.get(language * self.order.len() + place)?;
        let phrase = self.phrases.get(language * PHRASES as usize + place)?;
        let mut html = String::from("<!doctype html><html><body><header>");
        fill(&phrase, holes, &mut html);
        html.push_str("</header>");
        fill(&template, holes, &mut html);
        html.push_str("</body></html>");
        Ok(html)
    }

    pub(super) fn damage(&self, damage: Damage) {
        self.templates.damage(damage);
        self.phrases.damage(damage);
    }
}

fn compile(text: &str) -> Template {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let (name, remainder) = after.split_once('}').unwrap_or((after, ""));
        pieces.push(match name.strip_prefix('&') {
            Some(name) => Piece::Html(name.to_owned()),
            None => Piece::Hole(name.to_owned()),
        });
        rest = remainder;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    pieces.into()
}

fn fill(template: &[Piece], holes: &[(&str, &str)], html: &mut String) {
    let value = |name: &str| {
        let found = holes.iter().find(|(hole, _)| *hole == name);
        found.map_or("", |(_, value)| value)
    };
    for piece in template {
        match piece {
            Piece::Text(text) => html.push_str(text),
            Piece::Hole(name) => html.push_str(&escape(value(name))),
            Piece::Html(name) => html.push_str(value(name)),
        }
    }
}

/// Text as HTML shows it.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_and_text_is_escaped() {
        let template = compile("<p>{who} bids {&what}</p>{nobody}");
        let mut html = String::new();
        fill(
            &template,
            &[("who", "<x>"), ("what", "<b>1</b>")],
            &mut html,
        );
        assert_eq!(html, "<p>&lt;x&gt; bids <b>1</b></p>");
    }
}
