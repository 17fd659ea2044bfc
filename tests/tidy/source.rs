//! Rust source as text: without comments and literals, without test modules, its paths taken apart.

use std::fs;
use std::path::Path;

/// One file, three times, line by line the same.
pub(crate) struct Source {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and literals blanked.
    pub(crate) code: String,
    /// The code with test modules blanked.
    pub(crate) shipped: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = without_inert(text);
        let shipped = without_tests(&code);
        Self {
            path: path.into(),
            text: text.into(),
            code,
            shipped,
        }
    }

    pub(crate) fn violation(&self, offset: usize, what: &str) -> String {
        let line = self.text[..offset].matches('\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }

    /// How many modules inside this file enclose a place in it.
    pub(crate) fn inner_modules(&self, offset: usize) -> usize {
        let starts = words(&self.code, "mod").filter(|&start| start < offset);
        starts
            .filter(|&start| module_end(&self.code, start).is_some_and(|end| offset < end))
            .count()
    }

    /// `src/ring/slots.rs` is `ring::slots`, `src/ring/mod.rs` is `ring`.
    pub(crate) fn module(&self) -> String {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inner.trim_end_matches("/mod").replace('/', "::")
    }
}

/// Every Rust file in these folders of the repository, build outputs aside.
pub(crate) fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<_> = folders
        .iter()
        .map(|folder| root.join(folder))
        .filter(|folder| folder.exists())
        .collect();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the repository is readable") {
            let path = entry
                .expect("an entry of the repository is readable")
                .path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                let inside = path.strip_prefix(root).expect("the walk began at the root");
                found.push(Source::new(
                    &inside.to_string_lossy().replace('\\', "/"),
                    &text,
                ));
            }
        }
    }
    found
}

/// Every path that begins with `root`, groups taken apart, with the offset of its `root`.
pub(crate) fn paths(code: &str, root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for offset in words(code, root).filter(|&offset| !code[..offset].ends_with("::")) {
        if let Some(rest) = code[offset + root.len()..].strip_prefix("::") {
            let mut ends = Vec::new();
            use_tree(rest, root, &mut ends);
            found.extend(ends.into_iter().map(|path| (offset, path)));
        }
    }
    found
}

/// Reads what follows `prefix::`; returns what follows that.
fn use_tree<'c>(code: &'c str, prefix: &str, found: &mut Vec<String>) -> &'c str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        while !rest.trim_start().starts_with('}') {
            rest = use_tree(rest, prefix, found);
            let Some(end) = rest.find([',', '}']) else {
                return "";
            }; // steps over `as name`
            rest = rest[end..].trim_start_matches(',');
        }
        return &rest.trim_start()[1..];
    }
    let name = code
        .split(|c: char| c != '*' && !is_name(c))
        .next()
        .unwrap_or_default();
    let (path, rest) = (format!("{prefix}::{name}"), &code[name.len()..]);
    match rest
        .strip_prefix("::")
        .filter(|rest| rest.starts_with(|c| c == '{' || c == '*' || is_name(c)))
    {
        Some(rest) => use_tree(rest, &path, found),
        None => {
            found.push(path);
            rest
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands as a whole word.
pub(crate) fn words<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    let alone = move |&offset: &usize| {
        !code[..offset].ends_with(is_name) && !code[offset + word.len()..].starts_with(is_name)
    };
    code.match_indices(word)
        .map(|(offset, _)| offset)
        .filter(alone)
}

/// Blanks ranges; lines and offsets stay.
fn blank(text: &str, ranges: impl IntoIterator<Item = (usize, usize)>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (start, end) in ranges {
        bytes[start..end]
            .iter_mut()
            .filter(|byte| **byte != b'\n')
            .for_each(|byte| *byte = b' ');
    }
    String::from_utf8(bytes).expect("ranges cover whole characters")
}

/// Blanks comments and literals.
fn without_inert(text: &str) -> String {
    let mut ranges = Vec::new();
    let mut offset = 0;
    while let Some(next) = text[offset..].chars().next() {
        match inert_len(&text[offset..]) {
            0 => offset += next.len_utf8(),
            len => {
                ranges.push((offset, offset + len));
                offset += len;
            }
        }
    }
    blank(text, ranges)
}

/// The length of the comment or literal that `text` begins with; 0 if it begins with code.
fn inert_len(text: &str) -> usize {
    let through = |from: usize, end: &str| {
        text[from..]
            .find(end)
            .map_or(text.len(), |at| from + at + end.len())
    };
    let raw = text
        .strip_prefix('r')
        .map(|rest| rest.trim_start_matches('#'));
    if text.starts_with("//") {
        text.find('\n').unwrap_or(text.len())
    } else if text.starts_with("/*") {
        let mut end = 2;
        let mut depth = 1;
        while depth > 0 && end < text.len() {
            let (step, deeper) = match &text.as_bytes()[end..] {
                [b'/', b'*', ..] => (2, 1),
                [b'*', b'/', ..] => (2, -1),
                _ => (1, 0),
            };
            (end, depth) = (end + step, depth + deeper);
        }
        end
    } else if let Some(rest) = raw.filter(|rest| rest.starts_with('"')) {
        let hashes = text.len() - rest.len() - 1;
        through(hashes + 2, &format!("\"{}", "#".repeat(hashes)))
    } else if let Some(string) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = string.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        end.map_or(text.len(), |end| end + 2)
    } else if text.starts_with("'\\") {
        through(3, "'")
    } else {
        // `'a'` is a literal, `'a` a lifetime.
        let mut chars = text.char_indices().skip(2);
        let is_literal = text.starts_with('\'') && chars.next().is_some_and(|(_, c)| c == '\'');
        if is_literal {
            chars.next().map_or(text.len(), |(end, _)| end)
        } else {
            0
        }
    }
}

/// Blanks modules that are compiled only for tests.
fn without_tests(code: &str) -> String {
    let tests = code.match_indices("#[cfg(").filter_map(|(start, _)| {
        let (condition, item) = code[start..].split_once(']')?;
        let for_tests =
            words(condition, "test").next().is_some() && !condition.contains("not(test)");
        let end = module_end(code, code.len() - item.trim_start().len())?;
        for_tests.then_some((start, end))
    });
    blank(code, tests)
}

/// Where the module ends whose `mod name {` begins at `start`, if one does.
fn module_end(code: &str, start: usize) -> Option<usize> {
    let module = code[start..].strip_prefix("mod ")?;
    let body = module
        .find(['{', ';'])
        .filter(|&body| module[body..].starts_with('{'))?;
    let mut depth = 0;
    let len = module[body..].find(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == '}' && depth == 0
    })?;
    Some(code.len() - module.len() + body + len)
}

/// Blanks imports.
pub(crate) fn without_uses(code: &str) -> String {
    let uses = words(code, "use").filter(|offset| code[offset + 3..].starts_with(' '));
    blank(
        code,
        uses.filter_map(|start| Some((start, start + code[start..].find(';')?))),
    )
}
