//! A PDF whose offsets are right, of bytes that say nothing about offsets: else nearly every mutation would only break the
//! cross-references, which is refused before anything is read.

/// With `startxref` in them the bytes are the file. Else each `/Length ?` becomes the length of the stream that follows, and a
/// table of the lines that begin with `N G obj` is put behind, with the bytes' own trailer or one that names object 1.
pub fn pdf(bytes: &[u8]) -> Vec<u8> {
    if find(bytes, b"startxref").is_some() {
        return bytes.to_vec();
    }
    let mut file = with_lengths(bytes);
    let own = find(&file, b"\ntrailer").map(|at| file.split_off(at));
    let objects = objects(&file);
    let size = objects.iter().map(|(number, _)| number + 1).max().unwrap_or(1);
    let start = file.len() + 1;
    let mut table = "\nxref\n0 1\n0000000000 65535 f \n".to_owned();
    for (number, offset) in objects {
        table += &format!("{number} 1\n{offset:010} 00000 n \n");
    }
    file.extend(table.into_bytes());
    file.extend(own.unwrap_or_else(|| format!("trailer<</Size {size}/Root 1 0 R>>").into_bytes()));
    file.extend(format!("\nstartxref\n{start}\n%%EOF\n").into_bytes());
    file
}

/// Runs it with the stack that a worker has, which is larger than libFuzzer's.
pub fn with_workers_stack(work: impl FnOnce() + Send) {
    const STACK_BYTES: usize = 64 * 1024 * 1024;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.expect("a thread").join().expect("no panic");
    });
}

fn with_lengths(bytes: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = b"/Length ?";
    let (mut file, mut rest) = (Vec::with_capacity(bytes.len() + 256), bytes);
    while let Some(at) = find(rest, MARK) {
        file.extend(&rest[..at + MARK.len() - 1]);
        rest = &rest[at + MARK.len()..];
        let length = find(rest, b"stream\n").map(|at| at + 7).and_then(|start| find(&rest[start..], b"\nendstream"));
        file.extend(length.unwrap_or_default().to_string().into_bytes());
    }
    file.extend(rest);
    file
}

/// Number and place of what looks like an object. Few and with small numbers: a table is written of them.
fn objects(file: &[u8]) -> Vec<(u32, usize)> {
    let mut at = 0;
    let mut objects = std::collections::BTreeMap::new();
    for line in file.split(|byte| *byte == b'\n') {
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let number = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse::<u32>().ok());
        if let (Some(number @ 1..1_000), Some(_), Some(rest)) = (number, words.next(), words.next())
            && rest.starts_with(b"obj")
        {
            objects.insert(number, at);
        }
        at += line.len() + 1;
    }
    objects.into_iter().collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
