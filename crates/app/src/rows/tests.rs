//! Files as people have them, in pieces of every size, and bytes that nobody meant as a file.

use super::*;
use proptest::prelude::*;
use serde_json::json;

const CSV: Format = Format::Csv(Charset::Utf8);

fn read_in(format: Format, bytes: &[u8], piece: usize) -> Result<Vec<Item>, String> {
    let mut parser = Parser::new(format);
    let mut out = Vec::new();
    let told = |problem: Problem| {
        assert_eq!(problem.code, Code::RowsUnreadable);
        problem.detail
    };
    for part in bytes.chunks(piece.max(1)) {
        parser.push(part, &mut out).map_err(told)?;
    }
    parser.end(&mut out).map_err(told)?;
    Ok(out)
}

/// The same in pieces of any size.
fn read(format: Format, bytes: &[u8]) -> Result<Vec<Item>, String> {
    let whole = read_in(format, bytes, bytes.len());
    for piece in [1, 2, 3, 7] {
        assert_eq!(read_in(format, bytes, piece), whole, "in pieces of {piece}");
    }
    whole
}

fn header(cells: &[&str]) -> Item {
    Item::Header(cells.iter().map(ToString::to_string).collect())
}

fn row(line: i64, cells: &[&str]) -> Item {
    Item::Row(line, Given::Cells(cells.iter().map(ToString::to_string).collect()))
}

#[test]
fn every_spreadsheets_csv_is_read() {
    let expected = vec![header(&["a", "b"]), row(2, &["1", "x, y; z"]), row(3, &["2", "ü"])];
    for text in [
        "a,b\n1,\"x, y; z\"\n2,ü\n",
        "a;b\r\n1;\"x, y; z\"\r\n2;ü",
        "a\tb\r1\tx, y; z\r2\tü\r",
        "\u{feff}a;b\n1;\"x, y; z\"\n\"2\" ;\"ü\"\n\n;\n  ;\n",
        "\"a\";\"b\"\n1;\"x, y; z\"\n2;ü\n;;;;\n",
    ] {
        let read = read(CSV, text.as_bytes()).expect(text);
        assert_eq!(read, expected, "{text:?}");
    }
}

#[test]
fn a_row_has_the_number_that_a_spreadsheet_shows() {
    let text = "\n a , b \n\"1\r\n2\",\"\"\"q\"\"\"\r\n\r\n,,\n3,4,\n";
    let expected = [header(&[" a ", " b "]), row(3, &["1\r\n2", "\"q\""]), row(6, &["3", "4", ""])];
    assert_eq!(read(CSV, text.as_bytes()).expect("read"), expected);
}

#[test]
fn one_column_needs_no_delimiter() {
    assert_eq!(read(CSV, b"a\n1").expect("read"), [header(&["a"]), row(2, &["1"])]);
}

#[test]
fn what_cant_be_read_for_certain_is_refused_with_its_line() {
    for (bytes, detail) in [
        (&b""[..], "Line 1: there is no header: the file is empty."),
        (b"\n ; \n", "Line 1: there is no header: the file is empty."),
        (b"a,b\n1,\"x\n", "Line 2: the quote that opens here is never closed."),
        (b"a,b\n1,\"x\"y\n", "Line 2: text follows a closing quote: quotes within a cell are doubled (\"\")."),
        (
            b"a,b\r\n1,\xe4\r\n",
            "Line 2: byte 8 of the file (0xe4) is not UTF-8. Save it as UTF-8, or say `Content-Type: text/csv; \
             charset=windows-1252` if it is that.",
        ),
        (
            b"a\n1\xc3",
            "Line 2: byte 4 of the file (0xc3) is not UTF-8. Save it as UTF-8, or say `Content-Type: text/csv; \
             charset=windows-1252` if it is that.",
        ),
        (b"\xff\xfea\0", "Line 1: byte 1 of the file (0xff) is not UTF-8. It looks like UTF-16: save it as UTF-8."),
    ] {
        assert_eq!(read(CSV, bytes), Err(detail.to_owned()), "{bytes:?}");
    }
    let endless = format!("a\n\"{}", "x".repeat(ROW_BYTES_MAX + 1));
    assert!(read_in(CSV, endless.as_bytes(), 4096).expect_err("too long").starts_with("Line 2: the row"));
    let endless = "x".repeat(ROW_BYTES_MAX + 2);
    assert!(read_in(CSV, endless.as_bytes(), 4096).expect_err("too long").starts_with("Line 1: the row"));
    assert!(read_in(Format::Ndjson, endless.as_bytes(), 4096).expect_err("too long").starts_with("Line 1: it is"));
}

#[test]
fn another_charset_is_read_where_it_is_said_aloud() {
    let windows = Format::of("text/csv; charset=\"ISO-8859-1\"").expect("known");
    assert_eq!(windows, Format::Csv(Charset::Windows1252));
    assert_eq!(read(windows, b"a\n\xe4\x80\x93").expect("read"), [header(&["a"]), row(2, &["ä€“"])]);
    assert_eq!(read(windows, b"a\n\x81"), Err("Line 2: byte 3 of the file (0x81) is not windows-1252.".to_owned()));
    assert_eq!(Format::of("Text/CSV;charset=UTF-8"), Ok(CSV));
    assert_eq!(Format::of("application/x-ndjson"), Ok(Format::Ndjson));
    for wrong in ["", "application/json", "text/csv; charset=utf-16", "application/x-ndjson; charset=latin1"] {
        assert_eq!(Format::of(wrong).map_err(|problem| problem.code), Err(Code::UnsupportedMediaType), "{wrong}");
    }
}

#[test]
fn json_lines_are_read_exactly() {
    let text = "{\"a\":\"=1\",\"b\":{\"c\":true}}\r\n\n  \n{\"a\": \"\\u0000\"}";
    let members = |value: Value| match value {
        Value::Object(members) => Given::Members(members),
        _ => unreachable!("an object"),
    };
    let expected =
        [Item::Row(1, members(json!({"a": "=1", "b": {"c": true}}))), Item::Row(4, members(json!({"a": "\0"})))];
    assert_eq!(read(Format::Ndjson, text.as_bytes()).expect("read"), expected);
    for (text, detail) in [
        ("{}\n{\"a\":1,\"a\":2}", "Line 2: the member \"a\" comes twice at byte 13 of the line."),
        ("{}\n[1]", "Line 2: invalid type: sequence, expected an object for each line at byte 0 of the line."),
        ("{\"a\":", "Line 1: EOF while parsing a value at byte 5 of the line."),
    ] {
        assert_eq!(read(Format::Ndjson, text.as_bytes()), Err(detail.to_owned()));
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_pieces_do_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..20) {
        for format in [CSV, Format::Csv(Charset::Windows1252), Format::Ndjson] {
            prop_assert_eq!(read_in(format, &bytes, piece), read_in(format, &bytes, bytes.len()));
        }
    }

    #[test]
    fn nearly_csv_never_panics(text in "[a,;\"\t\r\n ü]{0,60}", piece in 1_usize..5) {
        prop_assert_eq!(read_in(CSV, text.as_bytes(), piece), read_in(CSV, text.as_bytes(), text.len()));
    }

    #[test]
    fn what_a_spreadsheet_writes_is_read_back(cells in prop::collection::vec(prop::collection::vec("[a-c,;\"\t\r\nü =']{0,6}", 2..3), 1..6)) {
        for delimiter in DELIMITERS {
            let mut writer = csv::WriterBuilder::new().delimiter(delimiter).quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            writer.write_record(["x", "y"]).expect("written");
            for row in &cells {
                writer.write_record(row).expect("written");
            }
            let read = read_in(CSV, &writer.into_inner().expect("flushed"), 5).expect("read");
            let kept: Vec<_> = cells.iter().filter(|row| row.iter().any(|cell| !cell.trim().is_empty())).cloned().collect();
            let got: Vec<_> = read.into_iter().skip(1).map(|item| match item {
                Item::Row(_, Given::Cells(cells)) => cells,
                other => panic!("{other:?}"),
            }).collect();
            prop_assert_eq!(got, kept);
        }
    }
}
