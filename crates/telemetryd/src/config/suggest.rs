//! "Did you mean": the known word that is nearest to an unknown one.

/// The candidate nearest to `word`, if it is near enough to be what was meant: a third of the word's
/// letters may differ, upper case and `-` for `_` cost nothing.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    let allowed = (word.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &plain(candidate)), candidate))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

fn plain(word: &str) -> Vec<char> {
    // A key is short; what is longer than any key is not compared to its end (I6).
    let fold = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    word.chars().take(64).map(fold).collect()
}

/// Edits (insert, delete, replace, swap neighbours) from `a` to `b`: the optimal string alignment
/// distance (Boytsov, "Indexing methods for approximate dictionary searching", 2011, section 2.1).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 4] = ["max_bytes", "max_bytes_per_tool", "max_age", "url"];

    #[test]
    fn a_typing_mistake_finds_its_word() {
        for (typed, meant) in [
            ("max_byte", "max_bytes"),
            ("max-bytes", "max_bytes"),
            ("MAX_AGE", "max_age"),
            ("mxa_age", "max_age"),
            ("ur", "url"),
        ] {
            assert_eq!(nearest(typed, WORDS), Some(meant), "{typed}");
        }
    }

    #[test]
    fn what_resembles_nothing_finds_nothing() {
        for typed in ["colour", "", "zz", "x"] {
            assert_eq!(nearest(typed, WORDS), None, "{typed}");
        }
    }
}
