//! Reads a page's content stream as far as needed to know what it leaves open: saved states, text, marked content.

/// More than this many states left open is no page of a serious program: what is beyond is not closed.
const DEPTH_MAX: usize = 4096;

/// What a content stream leaves open at its end, or takes back that it never opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOpen {
    /// `q` without `Q`.
    pub states: usize,
    /// `Q` without `q`: viewers ignore them, but they would take back the q that we put before.
    pub excess: usize,
    /// `BT` without `ET`.
    pub text: bool,
    /// `BMC` or `BDC` without `EMC`.
    pub marked: usize,
}

impl LeftOpen {
    /// What goes before the old streams.
    pub fn before(&self) -> Vec<u8> {
        let mut out = b"q\n".repeat(self.excess.saturating_add(1).min(DEPTH_MAX));
        out.extend_from_slice(b"\n");
        out
    }

    /// What goes after them.
    pub fn after(&self) -> String {
        let mut out = String::from("\n");
        if self.text {
            out.push_str("ET\n");
        }
        out.push_str(&"EMC\n".repeat(self.marked.min(DEPTH_MAX)));
        out.push_str(&"Q\n".repeat(self.states.saturating_add(1).min(DEPTH_MAX)));
        out
    }
}

/// Counts what is left open. Strings, comments, dictionaries and inline images are stepped over.
pub fn left_open(content: &[u8]) -> LeftOpen {
    let mut open = LeftOpen::default();
    let mut at = 0;
    while at < content.len() {
        match content[at] {
            b'%' => at = skip_while(content, at, |byte| byte != b'\n' && byte != b'\r'),
            b'(' => at = skip_string(content, at),
            b'<' if content.get(at + 1) != Some(&b'<') => at = skip_while(content, at, |byte| byte != b'>') + 1,
            b'/' => at = skip_while(content, at + 1, is_regular),
            byte if is_regular(byte) => {
                let end = skip_while(content, at, is_regular);
                at = operator(&mut open, &content[at..end], content, end);
            }
            _ => at += 1,
        }
    }
    open
}

/// Takes note of an operator and returns where to read on.
fn operator(open: &mut LeftOpen, word: &[u8], content: &[u8], end: usize) -> usize {
    match word {
        b"q" => open.states += 1,
        b"Q" if open.states > 0 => open.states -= 1,
        b"Q" => open.excess += 1,
        b"BT" => open.text = true,
        b"ET" => open.text = false,
        b"BMC" | b"BDC" => open.marked += 1,
        b"EMC" => open.marked = open.marked.saturating_sub(1),
        b"ID" => return skip_image(content, end),
        _ => {}
    }
    end
}

fn is_space(byte: u8) -> bool {
    matches!(byte, 0 | b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

fn is_regular(byte: u8) -> bool {
    !is_space(byte) && !b"()<>[]{}/%".contains(&byte)
}

fn skip_while(content: &[u8], from: usize, keep: impl Fn(u8) -> bool) -> usize {
    content.get(from..).and_then(|rest| rest.iter().position(|byte| !keep(*byte))).map_or(content.len(), |n| from + n)
}

fn skip_string(content: &[u8], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while let Some(byte) = content.get(at) {
        match byte {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at.min(content.len())
}

/// The data of an inline image ends with `EI` between spaces, followed by what can be content again.
fn skip_image(content: &[u8], from: usize) -> usize {
    let mut at = from;
    while at + 2 < content.len() {
        let bounded = is_space(content[at])
            && &content[at + 1..at + 3] == b"EI"
            && content.get(at + 3).is_none_or(|byte| is_space(*byte) || *byte == b'Q');
        let after = content.get(at + 3..(at + 13).min(content.len())).unwrap_or_default();
        if bounded && after.iter().all(|byte| is_space(*byte) || (0x20..0x7f).contains(byte)) {
            return at + 3;
        }
        at += 1;
    }
    content.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_counted() {
        let open = left_open(b"q 1 0 0 1 0 0 cm q BT (a q \\) Q (b)) Tj /q gs % q\n <71> Tj /P <</MCID 0>> BDC");
        assert_eq!(open, LeftOpen { states: 2, excess: 0, text: true, marked: 1 });
        assert_eq!(open.after(), "\nET\nEMC\nQ\nQ\nQ\n");
    }

    #[test]
    fn a_state_taken_back_too_often_gets_one_more_before() {
        let open = left_open(b"Q q Q Q");
        assert_eq!((open.states, open.excess), (0, 2));
        assert_eq!(open.before(), b"q\nq\nq\n\n");
    }

    #[test]
    fn the_bytes_of_an_inline_image_are_no_operators() {
        let open = left_open(b"q BI /W 1 /H 1 /BPC 8 /CS /G ID \x00 q q EI Q");
        assert_eq!(open, LeftOpen::default());
    }
}
