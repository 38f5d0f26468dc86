//! PDFs made for the tests: good ones, and each kind of bad one.

use lopdf::{
    Dictionary, Document, EncryptionState, EncryptionVersion, Object, ObjectId, Permissions, Stream, dictionary,
};

/// A document with a font, whose pages are what `page` makes of each text.
pub struct Maker {
    pub document: Document,
    pub pages: ObjectId,
    pub font: ObjectId,
    pub kids: Vec<Object>,
}

impl Maker {
    pub fn new() -> Self {
        let mut document = Document::with_version("1.7");
        let pages = document.new_object_id();
        let font = document.add_object(dictionary! {
            "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica", "Encoding" => "WinAnsiEncoding",
        });
        Self { document, pages, font, kids: Vec::new() }
    }

    /// A page of 612 × 792 with this content; `more` is added to its dictionary.
    pub fn page(&mut self, content: &str, more: Dictionary) -> ObjectId {
        let content = self.document.add_object(Stream::new(Dictionary::new(), content.as_bytes().to_vec()));
        let mut page = dictionary! {
            "Type" => "Page", "Parent" => self.pages, "Contents" => content,
            "MediaBox" => vec![0.into(), 0.into(), 612.into(), 792.into()],
            "Resources" => dictionary! { "Font" => dictionary! { "F1" => self.font } },
        };
        page.extend(&more);
        let id = self.document.add_object(page);
        self.kids.push(id.into());
        id
    }

    /// Closes the page tree; `more` is added to the catalog.
    pub fn finish(mut self, more: Dictionary) -> Document {
        let count = self.kids.len() as i64;
        let tree = dictionary! { "Type" => "Pages", "Kids" => self.kids, "Count" => count };
        self.document.objects.insert(self.pages, tree.into());
        let mut catalog = dictionary! { "Type" => "Catalog", "Pages" => self.pages };
        catalog.extend(&more);
        let catalog = self.document.add_object(catalog);
        self.document.trailer.set("Root", catalog);
        let id = Object::string_literal(b"0123456789abcdef".to_vec());
        self.document.trailer.set("ID", vec![id.clone(), id]);
        self.document
    }
}

pub fn bytes(mut document: Document) -> Vec<u8> {
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).expect("a document in memory can be written");
    bytes
}

pub fn text(x: u32, y: u32, text: &str) -> String {
    format!("BT /F1 12 Tf {x} {y} Td ({text}) Tj ET\n")
}

/// Four pages: plain, turned by 90, cropped with an offset, with a unit of two points.
pub fn good() -> Vec<u8> {
    let mut maker = Maker::new();
    maker.page(&format!("{}{}", text(72, 700, "Sign here /sig1/"), "0 0 1 rg 300 300 50 50 re f\n"), Dictionary::new());
    maker.page(&text(100, 200, "turned /sig2/"), dictionary! { "Rotate" => 90 });
    maker.page(
        &text(100, 200, "cropped /sig3/"),
        dictionary! { "CropBox" => vec![50.into(), 100.into(), 450.into(), 700.into()] },
    );
    maker.page(&text(100, 200, "doubled /sig4/"), dictionary! { "UserUnit" => 2 });
    bytes(maker.finish(Dictionary::new()))
}

pub fn simple() -> Maker {
    let mut maker = Maker::new();
    maker.page(&text(72, 700, "Agreement"), Dictionary::new());
    maker
}

pub fn encrypted(user_password: &str) -> Vec<u8> {
    let mut document = simple().finish(Dictionary::new());
    let version = EncryptionVersion::V2 {
        document: &document,
        owner_password: "owner",
        user_password,
        key_length: 128,
        permissions: Permissions::all(),
    };
    let state = EncryptionState::try_from(version).expect("a state");
    document.encrypt(&state).expect("encrypted");
    bytes(document)
}

/// A document with a signature field that has a value; `certified` with the permission for no change.
pub fn signed(certified: bool) -> Vec<u8> {
    let mut maker = simple();
    let reference = dictionary! {
        "Type" => "SigRef", "TransformMethod" => "DocMDP",
        "TransformParams" => dictionary! { "Type" => "TransformParams", "P" => 1, "V" => "1.2" },
    };
    let signature = maker.document.add_object(dictionary! {
        "Type" => "Sig", "Filter" => "Adobe.PPKLite", "SubFilter" => "ETSI.CAdES.detached",
        "ByteRange" => vec![0.into(), 10.into(), 20.into(), 10.into()],
        "Contents" => Object::string_literal(vec![0; 8]), "Reference" => vec![reference.into()],
    });
    let field = maker.document.add_object(dictionary! {
        "FT" => "Sig", "T" => Object::string_literal("Signature1"), "V" => signature,
    });
    let mut catalog = dictionary! { "AcroForm" => dictionary! { "Fields" => vec![field.into()], "SigFlags" => 3 } };
    if certified {
        catalog.set("Perms", dictionary! { "DocMDP" => signature });
    }
    bytes(maker.finish(catalog))
}

/// A pattern whose cell is filled with a pattern whose cell …
pub fn nested_patterns(depth: usize) -> Vec<u8> {
    let mut maker = Maker::new();
    let mut inner: Option<ObjectId> = None;
    for _ in 0..depth {
        let resources = match inner {
            Some(id) => dictionary! { "Pattern" => dictionary! { "P" => id } },
            None => Dictionary::new(),
        };
        let content = if inner.is_some() { "/Pattern cs /P scn 0 0 90 90 re f" } else { "1 0 0 rg 0 0 9 9 re f" };
        let pattern = dictionary! {
            "Type" => "Pattern", "PatternType" => 1, "PaintType" => 1, "TilingType" => 1,
            "BBox" => vec![0.into(), 0.into(), 100.into(), 100.into()], "XStep" => 100, "YStep" => 100,
            "Resources" => resources,
        };
        inner = Some(maker.document.add_object(Stream::new(pattern, content.as_bytes().to_vec())));
    }
    let pattern = inner.expect("at least one");
    let page = maker.page("/Pattern cs /P scn 0 0 600 700 re f", Dictionary::new());
    let resources = dictionary! { "Pattern" => dictionary! { "P" => pattern } };
    maker.document.get_dictionary_mut(page).expect("the page").set("Resources", resources);
    bytes(maker.finish(Dictionary::new()))
}

/// A form that draws a form twice, which draws a form twice …: 2^`depth` rectangles in a few kilobytes.
pub fn doubling(depth: usize) -> Vec<u8> {
    let mut maker = Maker::new();
    let mut inner: Option<ObjectId> = None;
    for _ in 0..depth {
        let (resources, content) = match inner {
            Some(id) => (dictionary! { "XObject" => dictionary! { "X" => id } }, "/X Do /X Do"),
            None => (Dictionary::new(), "0 0 9 9 re f"),
        };
        let form = dictionary! {
            "Type" => "XObject", "Subtype" => "Form",
            "BBox" => vec![0.into(), 0.into(), 100.into(), 100.into()], "Resources" => resources,
        };
        inner = Some(maker.document.add_object(Stream::new(form, content.as_bytes().to_vec())));
    }
    let form = inner.expect("at least one");
    let page = maker.page("/X Do", Dictionary::new());
    let resources = dictionary! { "XObject" => dictionary! { "X" => form } };
    maker.document.get_dictionary_mut(page).expect("the page").set("Resources", resources);
    bytes(maker.finish(Dictionary::new()))
}

/// A page whose content inflates to `mebibytes`.
pub fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut maker = simple();
    // Run lengths (128 spaces in two bytes) below Flate.
    let runs: Vec<u8> = [129, b' '].repeat(mebibytes * 1024 * 1024 / 128);
    let mut stream = Stream::new(Dictionary::new(), runs);
    stream.compress().expect("compressed");
    stream.dict.set("Filter", vec!["FlateDecode".into(), "RunLengthDecode".into()]);
    let content = maker.document.add_object(stream);
    let page = maker.kids[0].as_reference().expect("the page");
    maker.document.get_dictionary_mut(page).expect("the page").set("Contents", content);
    bytes(maker.finish(Dictionary::new()))
}

/// A page tree that contains itself.
pub fn cycle() -> Vec<u8> {
    let mut maker = simple();
    maker.kids.push(maker.pages.into());
    maker.kids.push(maker.kids[0].clone());
    bytes(maker.finish(Dictionary::new()))
}

/// Scripts, a web link, an embedded file.
pub fn active() -> Vec<u8> {
    let mut maker = simple();
    let script = |code: &str| dictionary! { "S" => "JavaScript", "JS" => Object::string_literal(code) };
    let open = maker.document.add_object(script("app.alert(1)"));
    let link = maker.document.add_object(dictionary! {
        "Type" => "Annot", "Subtype" => "Link", "Rect" => vec![0.into(), 0.into(), 9.into(), 9.into()],
        "A" => dictionary! { "S" => "URI", "URI" => Object::string_literal("https://example.org/secret-place") },
    });
    let page = maker.kids[0].as_reference().expect("the page");
    let page = maker.document.get_dictionary_mut(page).expect("the page");
    page.set("Annots", vec![link.into()]);
    page.set("AA", dictionary! { "O" => script("app.alert(2)") });
    let file = maker.document.add_object(Stream::new(dictionary! { "Type" => "EmbeddedFile" }, b"hidden".to_vec()));
    let spec = maker.document.add_object(dictionary! {
        "Type" => "Filespec", "F" => Object::string_literal("a.exe"), "EF" => dictionary! { "F" => file },
    });
    let names = dictionary! {
        "EmbeddedFiles" => dictionary! { "Names" => vec![Object::string_literal("a.exe"), spec.into()] },
    };
    bytes(maker.finish(dictionary! { "OpenAction" => open, "Names" => names }))
}

/// A form with a text field and a box that is ticked: the text is drawn by its appearance, if it has one.
pub fn form(appearance: bool, more: Dictionary) -> Vec<u8> {
    let mut maker = simple();
    let drawing = |maker: &mut Maker, content: &str| {
        let form = dictionary! {
            "BBox" => vec![0.into(), 0.into(), 100.into(), 20.into()],
            "Resources" => dictionary! { "Font" => dictionary! { "F1" => maker.font } },
        };
        maker.document.add_object(Stream::new(form, content.as_bytes().to_vec()))
    };
    let text = drawing(&mut maker, "BT /F1 12 Tf 2 5 Td (Ada Lovelace) Tj ET");
    let (yes, off) = (drawing(&mut maker, "0 0 1 rg 0 0 100 20 re f"), drawing(&mut maker, "1 0 0 rg 0 0 100 20 re f"));
    let widget = |name: &str, kind: &str, top: i64| {
        dictionary! {
            "Type" => "Annot", "Subtype" => "Widget", "FT" => kind, "T" => Object::string_literal(name),
            "Rect" => vec![100.into(), (top - 20).into(), 300.into(), top.into()], "F" => 4,
        }
    };
    let mut field = widget("name", "Tx", 500);
    field.set("V", Object::string_literal("Ada Lovelace"));
    if appearance {
        field.set("AP", dictionary! { "N" => text });
    }
    let mut tick = widget("agree", "Btn", 400);
    tick.set("V", "Yes");
    tick.set("AS", "Yes");
    tick.set("AP", dictionary! { "N" => dictionary! { "Yes" => yes, "Off" => off } });
    let fields = [field, tick].map(|field| Object::from(maker.document.add_object(field))).to_vec();
    let page = maker.kids[0].as_reference().expect("the page");
    maker.document.get_dictionary_mut(page).expect("the page").set("Annots", fields.clone());
    let mut form = dictionary! { "Fields" => fields };
    form.extend(&more);
    bytes(maker.finish(dictionary! { "AcroForm" => form }))
}

/// A page whose dictionary names its content twice: readers differ in which one they take.
pub fn two_contents(swap: bool) -> Vec<u8> {
    let (first, second) = if swap { (5, 4) } else { (4, 5) };
    let stream = |text: &str| {
        let content = format!("BT /F1 30 Tf 72 500 Td ({text}) Tj ET");
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len())
    };
    raw(&[
        "<< /Type /Catalog /Pages 2 0 R >>".into(),
        "<< /Type /Pages /Count 1 /Kids [3 0 R] >>".into(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {first} 0 R /Contents {second} 0 R \
             /Resources << /Font << /F1 6 0 R >> >> >>"
        ),
        stream("You owe 10"),
        stream("You owe 10,000,000"),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".into(),
    ])
}

/// A file of these objects, numbered from 1; the first is the catalog.
pub fn raw(objects: &[String]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (index, object) in objects.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n \n", file.len()));
        file.extend(format!("{} 0 obj\n{object}\nendobj\n", index + 1).as_bytes());
    }
    let start = file.len();
    file.extend(table.as_bytes());
    file.extend(
        format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1).as_bytes(),
    );
    file
}
