//! A change of a text for people, as `diff -u` writes it.

/// Lines before and behind the change that are shown, too.
const AROUND: usize = 3;

/// The lines that differ, in one piece, with some around them; nothing where the texts are the same.
#[must_use]
pub fn text_diff(name: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let [olds, news] = [old, new].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let same = olds.iter().zip(&news).take_while(|(a, b)| a == b).count();
    let most = olds.len().min(news.len()) - same;
    let same_last = olds.iter().rev().zip(news.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let (from, to) = (same.saturating_sub(AROUND), same_last.saturating_sub(AROUND));
    let [old_hunk, new_hunk] =
        [&olds, &news].map(|lines| lines.get(from..lines.len() - to).unwrap_or_default());
    let mut out = format!("--- {name}\n+++ {name}\n");
    out.push_str(&format!("@@ -{} +{} @@\n", range(from, old_hunk), range(from, new_hunk)));
    let before = old_hunk.get(..same - from).unwrap_or_default();
    let behind = old_hunk.get(old_hunk.len() - (same_last - to)..).unwrap_or_default();
    push(&mut out, ' ', before);
    push(&mut out, '-', olds.get(same..olds.len() - same_last).unwrap_or_default());
    push(&mut out, '+', news.get(same..news.len() - same_last).unwrap_or_default());
    push(&mut out, ' ', behind);
    out
}

/// `first,count`; of no lines the one before them, as diff has it.
fn range(from: usize, lines: &[&str]) -> String {
    let first = if lines.is_empty() { from } else { from + 1 };
    format!("{first},{}", lines.len())
}

fn push(out: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        out.push(mark);
        out.push_str(line.trim_end_matches(['\r', '\n']));
        out.push('\n');
        if !line.ends_with('\n') {
            out.push_str("\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_what_is_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = "1\n2\n3\n4\nx\ny\n6\n7\n8\n9\n";
        let shown = "--- f\n+++ f\n@@ -2,7 +2,8 @@\n 2\n 3\n 4\n-5\n+x\n+y\n 6\n 7\n 8\n";
        assert_eq!(text_diff("f", old, new), shown);
        assert_eq!(text_diff("f", old, old), "");
    }

    #[test]
    fn the_ends_of_a_text_are_ends() {
        assert_eq!(text_diff("f", "", "a\n"), "--- f\n+++ f\n@@ -0,0 +1,1 @@\n+a\n");
        let shown = "--- f\n+++ f\n@@ -1,1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n\\ No newline at end of file\n";
        assert_eq!(text_diff("f", "a", "a\nb"), shown);
        // Each line is one side's or both's, also where lines repeat.
        assert_eq!(text_diff("f", "a\na\n", "a\n"), "--- f\n+++ f\n@@ -1,2 +1,1 @@\n a\n-a\n");
    }
}
