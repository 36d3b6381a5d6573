//! The rule of dependency, read from the sources: none of the five stages knows its neighbour,
//! and each foreign format is known to one of them.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Which of `words` stand in the sources of a module, code only.
fn mentions(module: &str, words: &[&str]) -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<_> = sources(&src)
        .into_iter()
        .filter(|path| {
            let relative = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
            relative == format!("{module}.rs") || relative.starts_with(&format!("{module}/"))
        })
        .collect();
    assert!(!files.is_empty(), "no source of {module} was scanned");
    let mut found = Vec::new();
    for path in files {
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in words.iter().filter(|word| code.contains(**word)) {
                found.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    found
}

#[test]
fn stages_do_not_know_each_other() {
    let stages = ["wire", "dedup", "choose", "envelope", "output"];
    for stage in stages {
        let others: Vec<String> = stages
            .iter()
            .copied()
            .chain(["pipeline"])
            .filter(|other| *other != stage)
            .flat_map(|other| [format!("crate::{other}"), format!("super::super::{other}")])
            .collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        assert_eq!(mentions(stage, &others), Vec::<String>::new());
    }
}

#[test]
fn the_base_knows_no_stage() {
    let stages = [
        "crate::wire",
        "crate::dedup",
        "crate::choose",
        "crate::envelope",
        "crate::output",
        "crate::pipeline",
    ];
    for base in ["change", "error", "json", "base64"] {
        assert_eq!(mentions(base, &stages), Vec::<String>::new());
    }
}

#[test]
fn foreign_formats_are_known_to_one_stage_each() {
    for module in ["wire", "dedup", "choose", "output", "pipeline", "json", "change"] {
        assert_eq!(mentions(module, &["capnp::", "capnp_"]), Vec::<String>::new());
    }
    for module in ["wire", "dedup", "choose", "envelope", "pipeline", "json", "change"] {
        assert_eq!(mentions(module, &["libzmq_sys"]), Vec::<String>::new());
    }
}
