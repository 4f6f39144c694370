//! The library does the same again when it is given the same again: what would keep the simulation from replaying a seed.
//!
//! Reads the sources outside `bin` and tests. Branches of `select!` have an order and a reason, maps whose order can be
//! seen take their key from `fastrand`, the time of day is read by clocks alone, and work on other threads is named here.

use std::{fs, path::Path};

/// Where a rule has an exception, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("std map", "src/types.rs", "makes the seeded ones"),
    ("std map", "src/producer/mod.rs", "has a hasher without a key"),
    ("std map", "src/registry/", "stands alone, and only looks up"),
    ("std map", "src/serdes/", "stands alone, and only looks up"),
    ("time of day", "src/producer/clock.rs", "is a clock, virtual in the simulation"),
    ("time of day", "src/embedded/clock.rs", "is a clock, virtual in the simulation"),
    ("std clock", "src/machine/mod.rs", "begins the time of the machines' tests"),
    ("thread", "src/producer/compressor.rs", "compresses in place on an in-process network"),
    ("thread", "src/net/handshake.rs", "derives the keys of SCRAM"),
    ("thread", "src/net/transport.rs", "reads the files of TLS"),
    ("tokio watch", "src/registry/", "stands alone, and is no part of a history"),
    ("tokio watch", "src/embedded/registry/", "has one waiter"),
    ("foreign random", "src/security/", "nonces and keys are no part of a history"),
];

/// What a line must not say, by rule.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("time of day", &["SystemTime::now()", "UNIX_EPOCH.elapsed()", "coarsetime::"]),
    ("thread", &["spawn_blocking(", "thread::spawn(", "block_in_place("]),
    // Its waiters wake in an order of its own: `crate::watch` keeps theirs.
    ("tokio watch", &["sync::watch", "broadcast::"]),
    ("foreign random", &["getrandom::", "RandomState", " rand::"]),
    ("std clock", &["std::time::Instant::now()"]),
];

fn files(folder: &Path, found: &mut Vec<(String, String)>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.to_string_lossy().replace('\\', "/");
        if path.is_dir() && !name.ends_with("src/bin") {
            files(&path, found);
        } else if name.ends_with(".rs") && !name.contains("/tests") {
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// What a file breaks, as (line, rule).
fn broken(file: &str, source: &str) -> Vec<(usize, &'static str)> {
    // Inline tests end a file; a line that names their file does not.
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let is_comment = |line: &str| line.starts_with("//");
    let mut found = Vec::new();
    let mut import = String::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !is_comment(line)) {
        if line.ends_with("select! {") {
            let said = lines.get(at + 1).is_some_and(|next| is_comment(next));
            let first = lines[at + 1..].iter().find(|next| !is_comment(next));
            if first != Some(&"biased;") || !said {
                found.push((at + 1, "select"));
            }
        }
        for (rule, words) in FORBIDDEN {
            if words.iter().any(|word| line.contains(word)) && !line.starts_with("use ") {
                found.push((at + 1, *rule));
            }
        }
        // An import may take several lines.
        if line.starts_with("use ") || !import.is_empty() {
            import.push_str(line);
        }
        if line.contains(';') || line.contains("std::collections::Hash") {
            let text = std::mem::take(&mut import) + line;
            if text.contains("collections::") && ["HashMap", "HashSet"].iter().any(|map| text.contains(map)) {
                found.push((at + 1, "std map"));
            }
        }
    }
    let is_excepted = |rule: &str| EXCEPTIONS.iter().any(|(of, place, _)| *of == rule && file.starts_with(place));
    found.retain(|(_, rule)| !is_excepted(rule));
    found
}

#[test]
fn nothing_differs_from_run_to_run() {
    let mut sources = Vec::new();
    files(Path::new("src"), &mut sources);
    let told = |(file, source): &(String, String)| -> Vec<String> {
        broken(file, source).into_iter().map(|(line, rule)| format!("{file}:{line}: {rule}")).collect()
    };
    let wrong: Vec<String> = sources.iter().flat_map(told).collect();
    assert!(wrong.is_empty(), "a simulation could not replay this:\n{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_what_differs() {
    let table = [
        ("tokio::select! {\n    // Why this order.\n    biased;\n}", vec![]),
        ("tokio::select! {\n    a = b => {}\n}", vec!["select"]),
        ("tokio::select! {\n    biased;\n}", vec!["select"]),
        ("use std::{\n    collections::{BTreeMap, HashMap},\n    sync::Arc,\n};", vec!["std map"]),
        ("fn f(map: std::collections::HashMap<u8, u8>) {}", vec!["std map"]),
        ("use std::collections::BTreeMap;\nuse crate::types::HashMap;", vec![]),
        ("let now = SystemTime::now();", vec!["time of day"]),
        ("// SystemTime::now() is not for us", vec![]),
        ("tokio::task::spawn_blocking(work);", vec!["thread"]),
        ("let id = getrandom::u64()?;", vec!["foreign random"]),
        ("fn f() {}\n#[cfg(test)]\nmod tests { fn f() { SystemTime::now(); } }", vec![]),
        ("#[cfg(test)]\nmod tests;\nfn f() { SystemTime::now(); }", vec!["time of day"]),
    ];
    for (source, expected) in table {
        let found: Vec<_> = broken("src/somewhere.rs", source).into_iter().map(|(_, rule)| rule).collect();
        assert_eq!(found, expected, "{source}");
    }
    assert!(broken("src/embedded/clock.rs", "SystemTime::now()").is_empty(), "an exception");
}
