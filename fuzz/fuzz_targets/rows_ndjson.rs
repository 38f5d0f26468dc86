//! Rows as NDJSON: however the bytes are cut into pieces, the same comes out. The first byte says how.
#![no_main]

use app::rows::{Format, Parser};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let size = usize::from(*how).max(1);
    let read = |size: usize| {
        let (mut parser, mut items) = (Parser::new(Format::Ndjson), Vec::new());
        let pushed = bytes.chunks(size).try_for_each(|piece| parser.push(piece, &mut items));
        let ended = pushed.and_then(|()| parser.end(&mut items));
        (items, ended.map_err(|problem| (problem.code, problem.detail)))
    };
    assert_eq!(read(size), read(bytes.len().max(1)));
});
