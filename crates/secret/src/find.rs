//! Finds secret keys in any bytes: by `iusk_`, without word boundaries; the checksum decides.

use std::io::{self, Read};
use std::sync::LazyLock;

use memchr::{memchr_iter, memmem::Finder};
use zeroize::Zeroizing;

use crate::{SECRET_KEY_CHARS_MAX, SecretKey, key::SECRET_KEY_CHARS_MIN};

/// What every key begins with.
pub const PREFIX: &str = "iusk_";
/// The same as UTF-16, of either byte order: what differs stands before its first byte, or after its last.
const PREFIX_UTF_16: &[u8] = b"i\0u\0s\0k\0_";
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// Bytes of the longest key in the widest encoding: what may stand across two chunks.
const KEY_BYTES_MAX: usize = 2 * SECRET_KEY_CHARS_MAX;

static UTF_8: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PREFIX));
static UTF_16: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PREFIX_UTF_16));

/// A key that stood somewhere.
#[derive(Debug)]
pub struct Hit {
    /// Bytes before it.
    pub offset: u64,
    /// Its line, counted from 1.
    pub line: u64,
    /// The key.
    pub key: SecretKey,
}

/// Finds every key in `text` whose checksum holds, with its place in bytes. Word boundaries do not matter.
pub fn find(text: &[u8]) -> Vec<(usize, SecretKey)> {
    UTF_8.find_iter(text).filter_map(|start| Some((start, key_at(&text[start..])?))).collect()
}

/// Searches what can be read, as UTF-8 (or any encoding that extends ASCII) and as UTF-16, and tells every key that it
/// meets. It holds a chunk at a time, however much there is; the answer is how many bytes there were.
pub fn search(mut from: impl Read, mut found: impl FnMut(Hit)) -> io::Result<u64> {
    let mut buffer = Zeroizing::new(vec![0; CHUNK_BYTES + KEY_BYTES_MAX]);
    let (mut before, mut lines, mut kept) = (0_u64, 1_u64, 0);
    loop {
        let read = match from.read(&mut buffer[kept..]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let window = &buffer[..kept + read];
        // A key that may go on in the next chunk is left to it.
        let end = if read == 0 { window.len() } else { window.len().saturating_sub(KEY_BYTES_MAX - 1) };
        let mut hits = hits(window, end);
        hits.sort_unstable_by_key(|(start, _)| *start);
        let mut counted = 0;
        for (start, key) in hits {
            lines += count_lines(&window[counted..start]);
            counted = start;
            found(Hit { offset: before + start as u64, line: lines, key });
        }
        lines += count_lines(&window[counted..end]);
        before += end as u64;
        if read == 0 {
            return Ok(before);
        }
        kept = window.len() - end;
        buffer.copy_within(end..end + kept, 0);
    }
}

/// The keys that begin before `end`.
fn hits(window: &[u8], end: usize) -> Vec<(usize, SecretKey)> {
    let narrow = UTF_8.find_iter(window).take_while(|start| *start < end);
    let wide = UTF_16.find_iter(window).take_while(|start| *start < end);
    let narrow = narrow.filter_map(|start| Some((start, key_at(&window[start..])?)));
    narrow.chain(wide.filter_map(|start| Some((start, key_at(&narrowed(&window[start..]))?)))).collect()
}

/// The key that these bytes begin with.
fn key_at(bytes: &[u8]) -> Option<SecretKey> {
    let candidate = |length| SecretKey::parse(std::str::from_utf8(bytes.get(..length)?).ok()?).ok();
    candidate(SECRET_KEY_CHARS_MIN).or_else(|| candidate(SECRET_KEY_CHARS_MAX))
}

/// The ASCII characters that these bytes begin with as UTF-16, as many as a key may have.
fn narrowed(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let is_ascii = |pair: &&[u8]| pair.get(1).is_none_or(|high| *high == 0);
    Zeroizing::new(bytes.chunks(2).take(SECRET_KEY_CHARS_MAX).take_while(is_ascii).map(|pair| pair[0]).collect())
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn key(number: u8) -> SecretKey {
        let environment = Environment::ALL[usize::from(number) % 3];
        SecretKey::generate(environment, Uuid::from_u128(u128::MAX / 3 + u128::from(number)), [number; 32])
    }

    /// Gives its bytes in pieces of these sizes, again and again.
    struct Pieces<'a> {
        bytes: &'a [u8],
        sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.sizes.next().copied().unwrap_or(1).min(buffer.len()).min(self.bytes.len());
            let (piece, rest) = self.bytes.split_at(size);
            buffer[..size].copy_from_slice(piece);
            self.bytes = rest;
            Ok(size)
        }
    }

    fn all(bytes: &[u8], sizes: &[usize]) -> Vec<(u64, u64, String)> {
        let mut found = Vec::new();
        let pieces = Pieces { bytes, sizes: sizes.iter().cycle() };
        let read = search(pieces, |hit| found.push((hit.offset, hit.line, hit.key.expose().to_owned())));
        assert_eq!(read.expect("read"), bytes.len() as u64);
        found
    }

    fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    proptest! {
        #[test]
        fn a_key_is_found_wherever_the_chunks_part(
            before in "[a-z_\n]{0,300}", between in "[a-z_\n]{0,9}", sizes in proptest::collection::vec(1_usize..200, 1..5)
        ) {
            let (one, other) = (key(1), key(2));
            let text = format!("{before}{}{between}{}{before}", one.expose(), other.expose());
            let line = |at: usize| 1 + text[..at].matches('\n').count() as u64;
            let second = before.len() + one.expose().len() + between.len();
            let want = [(before.len(), &one), (second, &other)];
            let want: Vec<_> = want.map(|(at, key)| (at as u64, line(at), key.expose().to_owned())).into();
            prop_assert_eq!(all(text.as_bytes(), &sizes), want);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, sizes in proptest::collection::vec(1_usize..50, 1..5)) {
            prop_assert_eq!(all(&bytes, &sizes), []);
        }
    }

    #[test]
    fn a_key_across_the_borders_of_large_chunks_is_found_once() {
        for number in 0..SECRET_KEY_CHARS_MAX * 2 + 4 {
            let key = key(u8::try_from(number).expect("small"));
            let mut bytes = vec![b'\n'; CHUNK_BYTES - SECRET_KEY_CHARS_MAX - 2 + number];
            let at = bytes.len() as u64;
            bytes.extend(key.expose().as_bytes());
            bytes.extend([b'x'; 400]);
            assert_eq!(all(&bytes, &[usize::MAX]), [(at, at + 1, key.expose().to_owned())], "{number}");
        }
    }

    #[test]
    fn a_key_in_utf_16_is_found_in_either_byte_order() {
        for (number, encode) in [(1, u16::to_le_bytes as fn(u16) -> [u8; 2]), (2, u16::to_be_bytes)] {
            let key = key(number);
            for after in ["", "\"\n", "xyz", "é"] {
                let bytes = utf_16(&format!("\u{feff}a=\n{}{after}", key.expose()), encode);
                for size in [1, 7, 100, usize::MAX] {
                    let found = all(&bytes, &[size]);
                    assert_eq!(found.len(), 1, "{after:?} {size}");
                    assert_eq!((found[0].1, found[0].2.as_str()), (2, key.expose()));
                }
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_key_is_not_told() {
        let good = key(1);
        let text = good.expose();
        let wrong = format!("{}{}", &text[..text.len() - 1], if text.ends_with('0') { '1' } else { '0' });
        for bytes in [wrong.as_str(), &text[..text.len() - 1], &text.replace("iusk_", "IUSK_"), &text.replace('_', "-")]
        {
            assert_eq!(all(bytes.as_bytes(), &[64]), []);
        }
        assert_eq!(all("iusk_".repeat(10_000).as_bytes(), &[usize::MAX]), []);
    }
}
