//! The rule that finds secret keys, as other scanners read it. All of them are made from [`secret::PATTERN`].

use clap::ValueEnum;

/// A scanner that a rule is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scanner {
    /// gitleaks: a `.gitleaks.toml`.
    Gitleaks,
    /// TruffleHog: a configuration with a custom detector.
    Trufflehog,
    /// GitHub's custom patterns: what to enter in the form.
    Github,
}

/// A key that opens nothing (docs/reference/secret-keys.md), for a scanner's own test.
const SAMPLE: &str = "iusk_prod_01j0000000e008000000000001_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp13nXMg8";

/// The rule for `scanner`.
pub fn rules(scanner: Scanner) -> String {
    let (pattern, prefix) = (secret::PATTERN, secret::PREFIX);
    match scanner {
        Scanner::Gitleaks => format!(
            "# gitleaks: `gitleaks git --config gitleaks.toml`, or copy the rule into your own .gitleaks.toml.
title = \"IUSign\"

[extend]
useDefault = true

[[rules]]
id = \"iusign-secret-key\"
description = \"An IUSign secret key: whoever has it acts as its administrator. Revoke it.\"
regex = '''{pattern}'''
keywords = [\"{prefix}\"]
"
        ),
        Scanner::Trufflehog => format!(
            "# TruffleHog: `trufflehog git --config=trufflehog.yaml …`
detectors:
  - name: IUSign secret key
    keywords:
      - {prefix}
    regex:
      key: '{pattern}'
"
        ),
        Scanner::Github => format!(
            "# GitHub: Settings, Advanced Security, Secret Protection, Custom patterns, New pattern

Pattern name:      IUSign secret key
Secret format:     {pattern}
Before secret:     \\A|[^0-9A-Za-z]
After secret:      \\z|[^0-9A-Za-z]
Test string:       {SAMPLE}
Push protection:   on
"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copies_in_the_docs_are_what_is_printed() {
        for (scanner, name) in [
            (Scanner::Gitleaks, "gitleaks.toml"),
            (Scanner::Trufflehog, "trufflehog.yaml"),
            (Scanner::Github, "github.txt"),
        ] {
            let file = format!("{}/../../docs/reference/leak-rules/{name}", env!("CARGO_MANIFEST_DIR"));
            let copy = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(copy, rules(scanner), "{name}: print it anew with `iusign scan --rules`");
        }
    }

    #[test]
    fn the_sample_is_a_key_and_the_page_prints_the_same_pattern() {
        assert!(secret::SecretKey::parse(SAMPLE).is_ok());
        let page = include_str!("../../../../docs/reference/secret-keys.md");
        assert!(page.contains(&format!("    {}\n", secret::PATTERN)) && page.contains(SAMPLE));
    }
}
