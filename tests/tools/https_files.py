"""Serves a folder's files at https://localhost:PORT; `/moved` leads to `/keys.json`. The certificate's own authority is
written to `ca.pem` in that folder.

`https_files.py PORT FOLDER`
"""

import datetime
import functools
import http.server
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

port, folder = sys.argv[1:]
now = datetime.datetime.now(datetime.timezone.utc)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(subject, key, issuer, signer, extension):
    made = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).add_extension(*extension)
    made = made.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
    return made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
with open(f"{folder}/ca.pem", "wb") as f:
    f.write(certificate("Root", root, "Root", root, (x509.BasicConstraints(ca=True, path_length=None), True)))
with open(f"{folder}/leaf.pem", "wb") as f:
    f.write(certificate("localhost", leaf, "Root", root, (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)))
    f.write(leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


class Files(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/moved":
            return super().do_GET()
        self.send_response(302)
        self.send_header("location", f"https://localhost:{port}/keys.json")
        self.send_header("content-length", "0")
        self.end_headers()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/leaf.pem")
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), functools.partial(Files, directory=folder))
server.socket = context.wrap_socket(server.socket, server_side=True)
print("it listens", flush=True)
server.serve_forever()
