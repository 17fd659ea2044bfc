//! The rules of the source as tests: layers, `unsafe`, file length, leftovers, the door to atomics, orderings.
//!
//! Each rule is a function from one source file to its violations, and has a test that plants one: a rule that cannot
//! fail checks nothing.

#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/source.rs"]
mod source;

use layers::LAYERS;
use source::{Source, paths, sources, without_uses, words};
use std::fs;
use std::path::Path;

/// The only files in which `unsafe` may stand.
const UNSAFE: &[&str] = &[
    "src/consumer/batch.rs",
    "src/consumer/tap.rs",
    "src/consumer/worker.rs",
    "src/ring/multi.rs",
    "src/ring/single.rs",
    "src/ring/lines.rs",
    "src/ring/prefetch.rs",
    "src/ring/slots.rs",
    "src/ring/walk.rs",
];

/// What of `std` only some files of the library may name, and what all others do instead.
const DOORS: &[(&str, &[&str], &str)] = &[
    (
        "std::sync::atomic",
        &["src/ring/cursor.rs", "src/sync.rs", "src/topology/mod.rs"],
        "take it from crate::sync, so that loom sees it",
    ),
    (
        "std::cell::UnsafeCell",
        &["src/sync.rs"],
        "take it from crate::sync, so that loom sees it",
    ),
    (
        "std::thread::park",
        &["src/sync.rs"],
        "use crate::sync::Parker, so that loom sees it",
    ),
    (
        "std::thread::spawn",
        &[],
        "it panics when no thread can be had: use Builder and report ErrorKind::Spawn",
    ),
];

const LIBRARY: &[&str] = &["src"];
const EVERYTHING: &[&str] = &["src", "benches", "cli", "examples", "loom-tests", "tests"];

const LEFTOVERS: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "#[ignore"];

const LINES_MAX: usize = 600;

/// How far above its line the comment of an ordering may begin.
const COMMENT_LINES_MAX: usize = 3;

fn layers(source: &Source) -> Vec<String> {
    let module = source.module();
    let Some((own, _)) = layer_of(&module).filter(|(_, found)| *found == module) else {
        return vec![format!(
            "{}: no layer: add `{module}` to LAYERS in tests/tidy/layers.rs",
            source.path
        )];
    };
    let mut violations = Vec::new();
    for (offset, path) in paths(&source.shipped, "crate")
        .into_iter()
        .chain(paths(&source.shipped, "super"))
    {
        let target = match path.strip_prefix("crate::") {
            // What is no module stands in lib.rs: a name that it exports.
            Some(path) => Some(layer_of(path).unwrap_or((12, "lib"))),
            None => resolve(&module, &path, source.inner_modules(offset))
                .and_then(|path| layer_of(&path)),
        };
        let Some((layer, target)) = target else {
            continue;
        };
        let folder = |module: &str| module.split("::").next().map(String::from);
        if layer > own || (layer == own && folder(target) != folder(&module)) {
            let what = format!(
                "`{path}` is in layer {layer}, this file in {own}: name lower layers, or the own folder"
            );
            violations.push(source.violation(offset, &what));
        }
    }
    violations
}

fn unsafe_code(source: &Source) -> Vec<String> {
    if UNSAFE.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let found = words(&source.code, "unsafe");
    found
        .map(|offset| {
            source.violation(offset, "`unsafe` stands only in the files listed in UNSAFE")
        })
        .collect()
}

fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let violation = format!(
        "{}: {lines} lines; a file has at most {LINES_MAX}: split it by ideas",
        source.path
    );
    Vec::from_iter((lines > LINES_MAX).then_some(violation))
}

fn leftovers(source: &Source) -> Vec<String> {
    let found = LEFTOVERS
        .iter()
        .flat_map(|left| source.code.match_indices(left));
    found
        .map(|(offset, left)| source.violation(offset, &format!("`{left}` is left over")))
        .collect()
}

fn doors(source: &Source) -> Vec<String> {
    let mut named = paths(&source.shipped, "std");
    named.extend(
        paths(&source.shipped, "core")
            .into_iter()
            .map(|(at, path)| (at, path.replacen("core", "std", 1))),
    );
    let mut violations = Vec::new();
    for (door, keepers, instead) in DOORS {
        let (parent, item) = door.rsplit_once("::").expect("a door is a path");
        let short = format!("{}::{item}", parent.trim_start_matches("std::"));
        for (offset, path) in named
            .iter()
            .filter(|_| !keepers.contains(&source.path.as_str()))
        {
            // Either the whole path, or its parent in a `use` and the rest wherever it is used.
            let in_two_parts = path == parent && source.shipped.contains(&short);
            if path.starts_with(door) || *path == format!("{parent}::*") || in_two_parts {
                violations.push(source.violation(*offset, &format!("`{door}`: {instead}")));
            }
        }
    }
    violations
}

/// `labels` are those with a row in docs/orderings.md.
fn orderings(source: &Source, labels: &[&str]) -> Vec<String> {
    let code = without_uses(&source.shipped);
    let weak = ["Relaxed", "Acquire", "Release", "AcqRel"];
    let mut offsets: Vec<usize> = weak
        .iter()
        .flat_map(|ordering| words(&code, ordering))
        .collect();
    offsets.sort_unstable();
    let mut violations = Vec::new();
    for offset in offsets {
        let line = source.text[..offset].matches('\n').count();
        let nearby = source
            .text
            .lines()
            .skip(line.saturating_sub(COMMENT_LINES_MAX));
        let nearby: Vec<&str> = nearby.take(line.min(COMMENT_LINES_MAX) + 1).collect();
        let after = |marker: &str| {
            nearby
                .iter()
                .rev()
                .find_map(|line| Some(line.split_once(marker)?.1))
        };
        if let Some(comment) = after("// pairs: ") {
            for label in labels_in(comment)
                .into_iter()
                .filter(|label| !labels.contains(label))
            {
                violations.push(source.violation(
                    offset,
                    &format!("label {label} has no row in docs/orderings.md"),
                ));
            }
        } else if after("// relaxed: ").is_none() {
            violations.push(source.violation(
                offset,
                "an ordering without `// pairs: LABEL` or `// relaxed: why`",
            ));
        }
    }
    violations.dedup();
    violations
}

/// `pairs: A, B (where the others stand): why` names A and B.
fn labels_in(comment: &str) -> Vec<&str> {
    comment
        .split(['(', ':', ';'])
        .next()
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .collect()
}

/// The first cells of all rows.
fn rows(table: &str) -> Vec<&str> {
    let rows = table
        .lines()
        .filter_map(|line| line.trim().strip_prefix('|')?.split('|').next());
    rows.map(|cell| cell.trim_matches([' ', '`', '*']))
        .collect()
}

/// The module that a path leads to or into, and its layer.
fn layer_of(path: &str) -> Option<(u8, &'static str)> {
    let mut rest = Some(path);
    while let Some(path) = rest {
        for (layer, modules) in LAYERS {
            if let Some(module) = modules.iter().find(|module| **module == path) {
                return Some((*layer, module));
            }
        }
        rest = path.rsplit_once("::").map(|(outer, _)| outer);
    }
    None
}

/// A path of `super`s from the root of the crate, as seen from `inner` modules deep inside `module`'s file; `None` if it
/// stays in that file.
fn resolve(module: &str, path: &str, inner: usize) -> Option<String> {
    let supers = path.split("::").take_while(|name| *name == "super").count();
    let up = supers.checked_sub(inner).filter(|up| *up > 0)?;
    let outer = module
        .split("::")
        .take(module.split("::").count().saturating_sub(up));
    Some(
        outer
            .chain(path.split("::").skip(supers))
            .collect::<Vec<_>>()
            .join("::"),
    )
}

fn check(folders: &[&str], rule: impl Fn(&Source) -> Vec<String>) {
    let sources = sources(folders);
    assert!(
        sources.iter().any(|source| source.path == "src/lib.rs"),
        "the walk found the library"
    );
    let violations: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

mod rules_hold {
    use super::*;

    #[test]
    fn imports_point_down() {
        check(LIBRARY, layers);
    }

    #[test]
    fn tables_name_what_exists() {
        let sources = sources(LIBRARY);
        let mut modules = LAYERS
            .iter()
            .flat_map(|(_, modules)| *modules)
            .copied()
            .collect::<Vec<_>>();
        modules.retain(|module| sources.iter().all(|source| source.module() != *module));
        assert_eq!(
            modules,
            Vec::<&str>::new(),
            "LAYERS names modules that do not exist"
        );
        let keepers = DOORS.iter().flat_map(|(_, keepers, _)| *keepers);
        let mut files = UNSAFE.iter().chain(keepers).copied().collect::<Vec<_>>();
        files.retain(|path| sources.iter().all(|source| source.path != *path));
        assert_eq!(
            files,
            Vec::<&str>::new(),
            "UNSAFE or DOORS names files that do not exist"
        );
    }

    #[test]
    fn unsafe_stands_where_it_may() {
        check(LIBRARY, unsafe_code);
    }

    #[test]
    fn files_are_short() {
        check(EVERYTHING, length);
    }

    #[test]
    fn nothing_is_left_over() {
        check(EVERYTHING, leftovers);
    }

    #[test]
    fn doors_are_used() {
        check(LIBRARY, doors);
    }

    #[test]
    fn orderings_are_explained() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/orderings.md");
        let table = fs::read_to_string(docs).unwrap_or_default(); // without it, every label is reported as missing
        check(LIBRARY, |source| orderings(source, &rows(&table)));
    }
}

mod planted_violations_are_found {
    use super::*;

    /// How many violations a rule finds in a file of this path and text.
    fn count(rule: impl Fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&Source::new(path, text)).len()
    }

    #[test]
    fn layers_up_and_sideways() {
        for (path, text, expected) in [
            ("src/error.rs", "use crate::sync::Arc;", 0),
            ("src/error.rs", "use crate::config::Wait;", 1),
            (
                "src/error.rs",
                "use crate::{sync::Arc, config::{BusConfig as Config, Wait}, sequence::Sequence};",
                2,
            ),
            ("src/error.rs", "fn f() { crate::bus::start() }", 1),
            ("src/error.rs", "use super::config::Wait;", 1),
            ("src/ring/slots.rs", "mod inner { use super::Error; }", 0),
            (
                "src/ring/slots.rs",
                "mod inner { use super::super::single::Single; }",
                1,
            ),
            (
                "src/ring/slots.rs",
                "mod inner { }\nuse super::single::Single;",
                1,
            ),
            ("src/error.rs", "use crate::Sequence;", 1),
            (
                "src/error.rs",
                "#[cfg(test)]\nmod tests { use crate::bus::Bus; }\nuse crate::bus::Bus;",
                1,
            ),
            (
                "src/error.rs",
                "/// See [`Bus`](crate::bus::Bus).\n// crate::bus\nconst S: &str = \"crate::bus::Bus\";",
                0,
            ),
            (
                "src/ring/single.rs",
                "use crate::ring::multi::Multi; use super::slots::Slots;",
                0,
            ),
            ("src/ring/slots.rs", "use super::single::Single;", 1),
            ("src/ring/single.rs", "use crate::wait::signal::Signal;", 1),
            ("src/ring/mod.rs", "use super::bus::Bus;", 1),
            ("src/lib.rs", "pub use crate::topology::Topology;", 0),
        ] {
            assert_eq!(count(layers, path, text), expected, "{path}: {text}");
        }
        let unknown = layers(&Source::new("src/ring/new.rs", ""));
        assert!(
            unknown[0].contains("add `ring::new` to LAYERS"),
            "{unknown:?}"
        );
    }

    #[test]
    fn unsafe_outside_its_files() {
        assert_eq!(
            count(
                unsafe_code,
                "src/bus.rs",
                "fn f() {\n    unsafe { g() }\n}\nunsafe impl Send for X {}"
            ),
            2
        );
        assert_eq!(count(unsafe_code, "src/ring/slots.rs", "unsafe { g() }"), 0);
        let inert = "// unsafe\n/* unsafe /* */ unsafe */ #![deny(unsafe_op_in_unsafe_fn)] \"\\\"unsafe\" r#\"\"unsafe\"#";
        assert_eq!(count(unsafe_code, "src/bus.rs", inert), 0);
        assert_eq!(
            count(
                unsafe_code,
                "src/bus.rs",
                "fn f<'a>(c: char) { matches!(c, '\\''|'\"') ; unsafe {} }"
            ),
            1
        );
    }

    #[test]
    fn a_line_too_many() {
        assert_eq!(count(length, "src/bus.rs", &"\n".repeat(LINES_MAX)), 0);
        assert_eq!(count(length, "src/bus.rs", &"\n".repeat(LINES_MAX + 1)), 1);
    }

    #[test]
    fn leftovers_of_each_kind() {
        for left in LEFTOVERS {
            assert_eq!(
                count(leftovers, "tests/x.rs", &format!("fn f() {{ {left} }}")),
                1,
                "{left}"
            );
            assert_eq!(
                count(leftovers, "tests/x.rs", &format!("// {left}")),
                0,
                "{left}"
            );
        }
    }

    #[test]
    fn ways_around_the_doors() {
        for text in [
            "use std::sync::atomic::AtomicU64;",
            "use core::sync::atomic::{AtomicU64, Ordering};",
            "use std::{cell::{Cell, UnsafeCell}, fmt};",
            "fn f() { std::thread::park_timeout(d) }",
            "use std::thread;\nfn f() { thread::spawn(g); }",
            "use std::sync;\ntype A = sync::atomic::AtomicU64;",
            "use std::thread::*;\nfn f() { crate::g() }",
        ] {
            assert_ne!(count(doors, "src/bus.rs", text), 0, "{text}");
        }
        let allowed =
            "use std::thread;\nuse std::sync::{Arc, OnceLock};\nfn f() { thread::Builder::new() }";
        assert_eq!(count(doors, "src/bus.rs", allowed), 0);
        assert_eq!(
            count(doors, "src/sync.rs", "use std::sync::atomic::AtomicU64;"),
            0
        );
        assert_eq!(
            count(
                doors,
                "src/bus.rs",
                "#[cfg(all(test, not(loom)))]\nmod tests { use std::thread::spawn; }"
            ),
            0
        );
    }

    #[test]
    fn orderings_without_a_partner() {
        let table = rows("| label | where |\n|---|---|\n| `MARK` | slots |\n| CURSOR | ring |\n");
        let count = |text: &str| count(|source| orderings(source, &table), "src/bus.rs", text);
        assert_eq!(count("x.load(Relaxed);"), 1);
        assert_eq!(count("// relaxed: a statistic\nx.load(Relaxed);"), 0);
        assert_eq!(
            count("x.load(Acquire) // pairs: MARK (publish): slots below it are written"),
            0
        );
        assert_eq!(
            count("// pairs: MARK, CURSOR\n1;\n2;\nx.swap(1, AcqRel);"),
            0
        );
        assert_eq!(
            count("// pairs: MARK, CURSOR\n1;\n2;\n3;\nx.swap(1, AcqRel);"),
            1
        );
        assert_eq!(count("// pairs: LOST, MARK\nx.store(1, Release);"), 1);
        assert_eq!(count("// pairs: the other side\nx.store(1, Release);"), 1);
        assert_eq!(
            count("use crate::sync::Ordering::{\n    Acquire,\n    Release,\n};\nfence(SeqCst);"),
            0
        );
        assert_eq!(
            count("#[cfg(test)]\nmod tests { fn f() { x.load(Relaxed); } }"),
            0
        );
        for shipped in [
            "#[cfg(not(test))]\nmod m {",
            "#[cfg(test)]\nmod m;\nmod n {",
            "mod tests {",
        ] {
            assert_eq!(
                count(&format!("{shipped} fn f() {{ x.load(Relaxed); }} }}")),
                1,
                "{shipped}"
            );
        }
        let lost = orderings(
            &Source::new("src/bus.rs", "\nx.load(Acquire) // pairs: LOST"),
            &table,
        );
        assert_eq!(
            lost,
            ["src/bus.rs:2: label LOST has no row in docs/orderings.md"]
        );
    }
}
