//! Imports go downward only, as the map in `src/lib.rs` draws it.
//!
//! Reads every `crate::NAME` of the sources, in groups too; what `lib.rs` re-exports counts for the module it lives in.
//! Test modules (`tests.rs`, `mod tests`) may look upward. Below level 5 neighbours may use each other, but not in a
//! circle. The wire's own words (`wire::Str`, `wire::ErrorCode`) are level 0: errors and plain types are made of them.
use std::collections::{BTreeMap, BTreeSet};
use std::{fs, path::Path};

const LEVELS: &str = "error types backoff properties words memory plant watch; wire record security serdes; machine; net; cluster; \
                      producer consumer admin registry; client embedded";
const WORDS: &[&str] = &["str", "Str", "code", "ErrorCode", "uuid", "Uuid"];

fn level(module: &str) -> Option<usize> {
    LEVELS.split(';').position(|level| level.split_whitespace().any(|name| name == module))
}

fn forbidden(from: &str, to: &str) -> bool {
    let (Some(low), Some(high)) = (level(to), level(from)) else { return true };
    match from {
        _ if from == to => false,
        "registry" => !["error", "serdes", "security"].contains(&to),
        // The tables of `wire` tell its guard where lengths stand; records are read by its own understanding.
        "embedded" => low > 1 || to == "record",
        _ => low > high || (low == high && high >= 5),
    }
}

/// `a::{b, c::d}` is [(a, b), (a, c)]; a group at the front is taken apart likewise.
fn heads(path: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for item in items(path) {
        let name = word(item);
        let inner = item[name.len()..].strip_prefix("::").map_or(vec![""], items);
        found.extend(inner.into_iter().map(|next| (name, word(next))));
    }
    found
}

fn word(text: &str) -> &str {
    text.split(|c: char| c != '_' && !c.is_alphanumeric()).next().unwrap_or_default()
}

fn items(text: &str) -> Vec<&str> {
    let Some(group) = text.strip_prefix('{') else { return vec![text] };
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => found.push(group[std::mem::replace(&mut start, at + 1)..at].trim()),
            _ => continue,
        }
        if c == '}' && start == at + 1 {
            break;
        }
    }
    found.retain(|item| !item.is_empty());
    found
}

/// The modules that one file's text imports. `exports` says where the names at the crate's root live.
fn imports(source: &str, exports: &BTreeMap<String, String>) -> BTreeSet<String> {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).map(|l| l.to_owned() + "\n").collect();
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let found = code.match_indices("crate::").flat_map(|(at, head)| heads(&code[at + head.len()..]));
    found
        .map(|(name, inner)| match exports.get(name) {
            Some(module) => of(module, name),
            None => of(name, inner),
        })
        .collect()
}

fn of(module: &str, item: &str) -> String {
    if module == "wire" && WORDS.contains(&item) { "words".into() } else { module.into() }
}

fn exports() -> BTreeMap<String, String> {
    let root = fs::read_to_string("src/lib.rs").unwrap();
    let uses = root.match_indices("pub use ").flat_map(|(at, head)| heads(&root[at + head.len()..]));
    uses.map(|(module, name)| (name.to_owned(), module.to_owned())).collect()
}

/// Every source file below `folder`, but tests.
fn files(folder: &Path, found: &mut Vec<(String, String)>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.to_string_lossy().replace('\\', "/");
        if path.is_dir() {
            files(&path, found);
        } else if name.ends_with(".rs") && !name.contains("/tests") {
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// `src/wire/str.rs` is (wire, str), seen through `of`.
fn module(file: &str) -> String {
    let mut steps = file.trim_start_matches("src/").trim_end_matches(".rs").split('/');
    of(steps.next().unwrap_or_default(), steps.next().unwrap_or_default())
}

#[test]
fn imports_go_downward() {
    let (mut sources, exports) = (Vec::new(), exports());
    files(Path::new("src"), &mut sources);
    let (mut wrong, mut edges) = (Vec::new(), BTreeSet::new());
    for (file, source) in &sources {
        let from = module(file);
        if from == "bin" {
            // `decode` is about the wire; the other commands are not.
            let inside = ["wire", "machine", "net", "cluster"].map(|m| format!("milena::{m}"));
            let inside = if file.contains("/decode/") { &inside[1..] } else { &inside[..] };
            wrong.extend(inside.iter().filter(|m| source.contains(*m)).map(|m| format!("{file} uses {m}")));
        } else if from != "lib" {
            let imported = imports(source, &exports);
            wrong.extend(imported.iter().filter(|to| forbidden(&from, to)).map(|to| format!("{file} imports {to}")));
            edges.extend(imported.into_iter().filter(|to| *to != from).map(|to| (from.clone(), to)));
        }
        if source.contains("kafka_protocol::") && from != "embedded" {
            wrong.push(format!("{file} uses kafka_protocol, the independent other end of the wire"));
        }
    }
    assert!(wrong.is_empty(), "imports that the layers forbid:\n{}", wrong.join("\n"));
    assert!(circle(&mut edges).is_empty(), "modules in a circle: {edges:?}");
}

/// Takes away what imports nothing (more) until nothing changes: what is left runs in a circle.
fn circle(edges: &mut BTreeSet<(String, String)>) -> &BTreeSet<(String, String)> {
    loop {
        let before = edges.len();
        let importing: BTreeSet<String> = edges.iter().map(|(from, _)| from.clone()).collect();
        edges.retain(|(_, to)| importing.contains(to));
        if edges.len() == before {
            return edges;
        }
    }
}

#[test]
fn the_check_sees_what_is_forbidden() {
    let exports = BTreeMap::from([("Kafka".to_owned(), "client".to_owned()), ("Error".to_owned(), "error".to_owned())]);
    let wrong = |file, source| -> Vec<String> {
        imports(source, &exports).into_iter().filter(|to| forbidden(&module(file), to)).collect()
    };
    assert_eq!(wrong("src/wire/buf.rs", "use crate::machine::queue;"), ["machine"]);
    assert_eq!(wrong("src/net/mod.rs", "use crate::{Error, wire::{Str, api}, cluster::{Cluster, To}};"), ["cluster"]);
    assert_eq!(wrong("src/producer/mod.rs", "fn f() { crate::consumer::poll() }"), ["consumer"]);
    assert_eq!(wrong("src/cluster/mod.rs", "pub fn f(kafka: &crate::Kafka) {}"), ["client"]);
    assert_eq!(
        wrong("src/embedded/log.rs", "use crate::{\n    record::Batches,\n    security::Security,\n};"),
        ["record"]
    );
    assert_eq!(wrong("src/registry/mod.rs", "use crate::{types, serdes::Part};"), ["types"]);
    assert_eq!(wrong("src/record/mod.rs", "use crate::surprise::Thing;"), ["surprise"], "a module without a level");
    assert!(wrong("src/error.rs", "use crate::wire::{ErrorCode, Str};\n// crate::client is not code").is_empty());
    assert!(wrong("src/wire/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::client;\n}").is_empty());
    let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let mut edges = BTreeSet::from([
        edge("wire", "record"),
        edge("record", "serdes"),
        edge("serdes", "wire"),
        edge("wire", "error"),
    ]);
    assert_eq!(circle(&mut edges).len(), 3);
}
