//! Every seed and every vector of `fuzz/`, through the same functions as the fuzz targets, on a stable toolchain: what
//! fuzzing found once stays found.

mod counting;

use std::{collections::BTreeSet, fs, path::PathBuf};

use counting::counted;
use protocol_tests::fuzz::{TARGETS, Target};

/// The files of one target: `fuzz/KIND/TARGET/*`.
fn files(kind: &str, target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "fuzz", kind, target.name].iter().collect();
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            (path.display().to_string(), fs::read(&path).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

fn run(target: &Target, name: &str, input: &[u8]) {
    // What fails says which input it was.
    eprintln!("{name}");
    let (_, peak) = counted(|| (target.run)(input));
    let limit = target.memory(input.len());
    assert!(peak <= limit, "{peak} bytes of memory for {} bytes, the limit is {limit}: {name}", input.len());
}

#[test]
fn every_seed_passes() {
    for target in TARGETS {
        (target.run)(&[]); // Tables and schemas are made once and are not counted.
        let seeds = files("seeds", target);
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        seeds.iter().for_each(|(name, input)| run(target, name, input));
    }
}

#[test]
fn what_fuzzing_found_stays_fixed() {
    for target in TARGETS {
        (target.run)(&[]);
        files("vectors", target).iter().for_each(|(name, input)| run(target, name, input));
    }
}

/// Cheap mutations of the seeds, so that a mistake in a target itself does not wait for nightly.
#[test]
fn every_seed_may_be_cut_and_have_a_byte_changed() {
    for target in TARGETS {
        (target.run)(&[]);
        for (name, mut input) in files("seeds", target) {
            let step = 1 + input.len() / 24;
            for at in (0..input.len()).step_by(step) {
                run(target, &format!("{name} cut at {at}"), &input[..at]);
                input[at] ^= 0x81;
                run(target, &format!("{name} with byte {at} changed"), &input);
                input[at] ^= 0x81;
            }
        }
    }
}

#[test]
fn every_target_is_a_binary_of_the_fuzz_workspace() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("fuzz/Cargo.toml");
    let binaries: BTreeSet<_> = manifest.split("[[bin]]").skip(1).filter_map(|text| text.split('"').nth(1)).collect();
    assert_eq!(binaries, TARGETS.iter().map(|target| target.name).collect());
}
