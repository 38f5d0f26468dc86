//! The tree's own files, for the tests that keep the house's rules.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::server::root;

/// Every file that belongs to the tree and ends so, by its path from the root: what git knows or would add.
pub fn files(ending: &str) -> BTreeMap<String, String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    let names: Vec<String> = if listed.status.success() {
        String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
    } else {
        // A tree without git, as an archive of it is.
        let mut names = Vec::new();
        walk(root(), &mut names);
        names
    };
    names
        .into_iter()
        .filter(|name| name.ends_with(ending))
        .filter_map(|name| fs::read_to_string(root().join(&name)).ok().map(|text| (name, text)))
        .collect()
}

fn walk(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path: PathBuf = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            walk(&path, names);
        } else if path.is_file() {
            names.push(path.strip_prefix(root()).expect("below").display().to_string());
        }
    }
}
