//! The lines in which servers and forwarded calls tell what happened: `Field=value`, as Istio's test clients read them.

use std::fmt::Write;

use http::HeaderMap;

use crate::http_text::capitals;

/// The text under construction.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: String,
    /// What each line begins with.
    mark: String,
}

impl Lines {
    /// Lines without a mark: a server's answer.
    pub fn plain() -> Self {
        Lines::default()
    }

    /// The lines of forwarded call number `id`.
    pub fn of_call(id: usize) -> Self {
        Lines { text: String::new(), mark: format!("[{id}] ") }
    }

    /// `Field=value`.
    pub fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{}{name}={value}", self.mark);
    }

    /// `Field=value` where there is a value.
    pub fn optional(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    /// `Field=Name:value` for each header, names in Go's capitals, sorted.
    pub fn headers(&mut self, name: &str, headers: &HeaderMap) {
        let mut shown: Vec<_> = headers
            .iter()
            .map(|(key, value)| (capitals(key.as_str()), String::from_utf8_lossy(value.as_bytes())))
            .collect();
        shown.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, value) in shown {
            self.field(name, format_args!("{key}:{value}"));
        }
    }

    /// The lines of an answer's body, those of call `id`.
    pub fn body(&mut self, id: usize, body: &str) {
        for line in body.lines().filter(|line| !line.is_empty()) {
            let _ = writeln!(self.text, "[{id} body] {line}");
        }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_mark_their_lines_and_headers_are_sorted() {
        let mut headers = HeaderMap::new();
        headers.insert("x-b", "2".parse().unwrap());
        headers.insert("accept", "*/*".parse().unwrap());
        let mut lines = Lines::of_call(3);
        lines.field("StatusCode", 200);
        lines.headers("ResponseHeader", &headers);
        lines.body(3, "Hostname=a\n\nEnd");
        assert_eq!(
            lines.finish(),
            "[3] StatusCode=200\n[3] ResponseHeader=Accept:*/*\n[3] ResponseHeader=X-B:2\n[3 body] Hostname=a\n[3 body] End\n"
        );
    }
}
