//! Prints what verification finds about a file: `cargo run -p iusign-seal --example verify -- FILE.pdf [TRUST.pem …]`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: verify FILE.pdf [TRUST.pem …]")?;
    let mut trust = Vec::new();
    for path in arguments {
        for certificate in seal::key::certificates_from_pem(&std::fs::read_to_string(path)?)? {
            trust.push(der::Encode::to_der(&certificate)?);
        }
    }
    println!("{}", serde_json::to_string_pretty(&seal::verify::verify(&std::fs::read(file)?, &trust))?);
    Ok(())
}
