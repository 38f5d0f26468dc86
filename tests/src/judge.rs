//! Foreign eyes: what others wrote judges what we made.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Names the folder of the tools that `./test` makes.
const TOOLS: &str = "IUSIGN_TEST_TOOLS";

/// The folder of the tools.
pub fn tools() -> PathBuf {
    std::env::var_os(TOOLS).map_or_else(|| crate::server::root().join(".tools"), PathBuf::from)
}

/// Python with pyHanko and pypdf.
pub fn python() -> PathBuf {
    let python = tools().join("venv/bin/python");
    assert!(python.exists(), "{} is missing: `./test --setup` makes it", python.display());
    python
}

/// pyHanko has to call the one seal of the file valid, and to find that it covers the whole file.
pub fn seal_is_valid(pdf: &[u8], trust: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sealed.pdf");
    fs::write(&file, pdf).expect("written");
    let (code, words) = hanko(&file, trust);
    assert!(code == Some(0) && words.contains("The signature is judged VALID."), "{words}");
    assert!(words.contains("The signature covers the entire file."), "{words}");
    assert_eq!(words.matches("is judged").count(), 1, "more than one signature: {words}");
}

/// pyHanko must not call the file valid.
pub fn seal_is_broken(pdf: &[u8], trust: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sealed.pdf");
    fs::write(&file, pdf).expect("written");
    let (code, words) = hanko(&file, trust);
    assert!(code != Some(0) && !words.contains("is judged VALID"), "{words}");
}

/// What `pyhanko sign validate` says of a file.
fn hanko(file: &Path, trust: &Path) -> (Option<i32>, String) {
    let output = Command::new(tools().join("venv/bin/pyhanko"))
        .args(["sign", "validate", "--pretty-print", "--no-revocation-check", "--trust-replace"])
        .args(["--trust", &trust.display().to_string()])
        .arg(file)
        .current_dir(file.parent().expect("a folder"))
        .output()
        .expect("pyHanko runs: `./test --setup` installs it");
    (output.status.code(), words(&output))
}

/// `qpdf --check` has to find nothing.
pub fn qpdf_is_content(pdf: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file.pdf");
    fs::write(&file, pdf).expect("written");
    let output = Command::new("qpdf").arg("--check").arg(&file).output().expect("qpdf runs");
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
}

/// The text of a file, as Poppler reads it.
pub fn text_of(pdf: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file.pdf");
    fs::write(&file, pdf).expect("written");
    let output = Command::new("pdftotext").arg("-layout").arg(&file).arg("-").output().expect("pdftotext runs");
    assert!(output.status.success(), "{}", words(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How many pages Poppler counts.
pub fn pages_of(pdf: &[u8]) -> usize {
    // A form feed ends each page.
    text_of(pdf).matches('\u{c}').count()
}

/// The file with a password, by qpdf.
pub fn encrypted(pdf: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from.pdf"), folder.path().join("to.pdf"));
    fs::write(&from, pdf).expect("written");
    let output = Command::new("qpdf")
        .args(["--encrypt", "user", "owner", "256", "--"])
        .arg(&from)
        .arg(&to)
        .output()
        .expect("qpdf runs");
    assert!(output.status.success(), "{}", words(&output));
    fs::read(&to).expect("read")
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
