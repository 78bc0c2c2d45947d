//! `source/type` patterns: which handler an event belongs to.

/// A pattern over an event's source and type. `*` stands for any run of characters, none included.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    /// Where the first `/` is.
    slash: usize,
}

impl Pattern {
    /// Splits at the first `/`. The error says what is wrong with the pattern.
    pub(crate) fn parse(text: &str) -> Result<Pattern, String> {
        match text.find('/') {
            Some(slash) if slash > 0 && slash + 1 < text.len() => Ok(Pattern { text: text.to_owned(), slash }),
            _ => Err(format!("the pattern '{text}' is not of the form source/type (write * for any)")),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn matches(&self, source: &str, event_type: &str) -> bool {
        glob_matches(self.source(), source.as_bytes()) && glob_matches(self.event_type(), event_type.as_bytes())
    }

    /// How many characters are not `*`: of the patterns that match an event, the one with the most wins.
    pub(crate) fn literals(&self) -> usize {
        self.text.chars().filter(|c| *c != '*').count()
    }

    /// Whether some event is matched by both, equally well.
    pub(crate) fn ties_with(&self, other: &Pattern) -> bool {
        self.literals() == other.literals()
            && globs_meet(self.source(), other.source())
            && globs_meet(self.event_type(), other.event_type())
    }

    fn source(&self) -> &[u8] {
        &self.text.as_bytes()[..self.slash]
    }

    fn event_type(&self) -> &[u8] {
        &self.text.as_bytes()[self.slash + 1..]
    }
}

/// Whether `glob` matches `text`: greedy, with a way back to the last `*`, so quadratic at worst.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut retry = None;
    while t < text.len() {
        if glob.get(g) == Some(&b'*') {
            retry = Some((g, t));
            g += 1;
        } else if glob.get(g) == Some(&text[t]) {
            g += 1;
            t += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            g = star + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|c| *c == b'*')
}

/// Whether some text is matched by both globs: a table over their suffixes, filled from the end.
fn globs_meet(a: &[u8], b: &[u8]) -> bool {
    let mut meet = vec![vec![false; b.len() + 1]; a.len() + 1];
    for i in (0..=a.len()).rev() {
        for j in (0..=b.len()).rev() {
            meet[i][j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some(b'*'), Some(_)) => meet[i + 1][j] || meet[i][j + 1],
                (Some(_), Some(b'*')) => meet[i][j + 1] || meet[i + 1][j],
                (Some(b'*'), None) => meet[i + 1][j],
                (None, Some(b'*')) => meet[i][j + 1],
                (Some(x), Some(y)) => x == y && meet[i + 1][j + 1],
                _ => false,
            };
        }
    }
    meet[0][0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_star_matches_any_run() {
        for (text, source, event_type, expected) in [
            ("e-conomic/product-updated", "e-conomic", "product-updated", true),
            ("e-conomic/product-updated", "e-conomic", "product-updated2", false),
            ("e-conomic/product-updated", "e-conomic", "product-update", false),
            ("e-conomic/*", "e-conomic", "anything/at/all", true),
            ("e-conomic/*", "e-conomic", "", true),
            ("e-conomic/*", "e-conomic-2", "x", false),
            ("*/*", "any", "thing", true),
            ("*/invoice.*.paid", "stripe", "invoice.sub.paid", true),
            ("*/invoice.*.paid", "stripe", "invoice.paid", false),
            ("*/a*b*c", "s", "aXbXbXc", true),
            ("*/a*b*c", "s", "aXbXbX", false),
            ("stripe/æ*", "stripe", "æøå", true),
            ("s/*x", "s", "*yx", true),
        ] {
            assert_eq!(pattern(text).matches(source, event_type), expected, "{text} on {source}/{event_type}");
        }
    }

    #[test]
    fn the_first_slash_splits() {
        assert!(pattern("github/pull/merged").matches("github", "pull/merged"));
        assert!(!pattern("github/pull/merged").matches("github/pull", "merged"));
    }

    #[test]
    fn a_pattern_without_both_halves_is_refused() {
        for text in ["e-conomic", "*", "/x", "x/", "/", ""] {
            assert!(Pattern::parse(text).unwrap_err().contains("source/type"), "{text}");
        }
    }

    #[test]
    fn ties_are_found_only_where_one_event_fits_both() {
        for (a, b, expected) in [
            ("s/x", "s/x", true),
            ("s/x", "s/y", false),
            ("s/*", "s/**", true),
            ("s/a*", "s/*b", true),
            ("s/a*", "s/b*", false),
            ("s/a*", "s/ab", false),
            ("*/aa", "aa/*", true),
            ("*/aaa", "aa/*", false),
            ("s/a*c", "s/*bc", true),
            ("s/a*c", "s/*b*c", true),
            ("s/a*c", "s/c*a", false),
        ] {
            assert_eq!(pattern(a).ties_with(&pattern(b)), expected, "{a} and {b}");
            assert_eq!(pattern(b).ties_with(&pattern(a)), expected, "{b} and {a}");
        }
    }

    #[test]
    fn a_long_pattern_is_matched_in_reasonable_time() {
        let glob = format!("s/{}b", "*a".repeat(50));
        assert!(!pattern(&glob).matches("s", &"a".repeat(20_000)));
    }
}
