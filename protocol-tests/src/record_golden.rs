//! Reads `golden/records`: regions of record batches, and what Kafka's own reader found in them.

use std::{collections::BTreeMap, fs, path::Path};

use bytes::Bytes;

/// A region, and what is in it.
#[derive(Debug)]
pub struct Golden {
    /// The bytes as they stand in a Fetch response.
    pub region: Bytes,
    /// Batch by batch: a line for the batch, then one per record.
    pub expected: Vec<Vec<String>>,
}

/// All goldens by name.
pub fn goldens() -> BTreeMap<String, Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/records");
    let files = fs::read_dir(folder).expect("the goldens").map(|file| file.expect("a file").path());
    let text = |path: &Path| path.extension().is_some_and(|extension| extension == "txt");
    let name = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    files.filter(|path| text(path)).map(|path| (name(&path), read(&path))).collect()
}

/// The golden of that name.
///
/// # Panics
///
/// There is none.
pub fn golden(name: &str) -> Golden {
    goldens().remove(name).unwrap_or_else(|| panic!("no golden {name}"))
}

fn read(path: &Path) -> Golden {
    let text = fs::read_to_string(path).expect("text");
    let (hex, lines) = text.split_once('\n').expect("a first line");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    let mut expected: Vec<Vec<String>> = Vec::new();
    for line in lines.lines() {
        match expected.last_mut() {
            Some(batch) if !line.starts_with("batch") => batch.push(line.into()),
            _ => expected.push(vec![line.into()]),
        }
    }
    Golden { region: (0..hex.len()).step_by(2).map(byte).collect(), expected }
}
