"""The programs beside us: nginx with a fixed answer, HAProxy and fastify with the same checks as the gate."""

import hashlib
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request

from common import children, family, free_port


def certificate(folder):
    """One ECDSA P-256 certificate for all of them, which is its own root."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", f"{folder}/k.pem", "-out", f"{folder}/c.pem"],
        check=True, capture_output=True,
    )
    with open(f"{folder}/both.pem", "w") as both:
        for part in ("c.pem", "k.pem"):
            with open(f"{folder}/{part}") as f:
                both.write(f.read())
    os.chmod(f"{folder}", 0o755)


class Peer:
    def __init__(self, process, url):
        self.process, self.url = process, url

    def pids(self):
        return family(self.process.pid)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def program(name):
    return shutil.which(name) or f"/usr/sbin/{name}"


def until_it_listens(peer):
    import socket

    port = int(peer.url.rsplit(":", 1)[1].split("/")[0])
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return peer
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{peer.process.args[0]} does not listen")


def nginx(folder, body):
    port = free_port()
    with open(f"{folder}/nginx.conf", "w") as f:
        f.write(f"""
worker_processes 2; daemon off; error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {folder}/c.pem; ssl_certificate_key {folder}/k.pem;
    http2_max_requests 100000000; ssl_protocols TLSv1.3; default_type application/json;
    location / {{ return 200 '{body}'; }} }} }}
""")
    process = subprocess.Popen([program("nginx"), "-c", f"{folder}/nginx.conf"], stderr=subprocess.DEVNULL)
    return until_it_listens(Peer(process, f"https://127.0.0.1:{port}/v1/me"))


def haproxy(folder, body, keys):
    """The key's digest in a map, the address in a list, a rate per key, and the answer."""
    port = free_port()
    with open(f"{folder}/keys.map", "w") as f:
        for key in keys:
            f.write(f"{hashlib.sha256(f'Bearer {key}'.encode()).hexdigest().upper()} tenant\n")
    with open(f"{folder}/list.txt", "w") as f:
        f.write("127.0.0.0/8\n10.0.0.0/8\n192.168.0.0/16\n")
    with open(f"{folder}/answer.json", "w") as f:
        f.write(body)
    with open(f"{folder}/haproxy.cfg", "w") as f:
        f.write(f"""
global
  nbthread 2
  maxconn 4096
  ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  timeout http-keep-alive 60s
frontend f
  bind 127.0.0.1:{port} ssl crt {folder}/both.pem alpn h2,http/1.1
  stick-table type string len 64 size 200k expire 60s store http_req_rate(60s)
  http-request set-var(req.digest) req.hdr(authorization),sha2(256),hex
  http-request deny deny_status 401 unless {{ var(req.digest),map_str({folder}/keys.map) -m found }}
  http-request deny deny_status 403 unless {{ src -f {folder}/list.txt }}
  http-request track-sc0 var(req.digest)
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 100000000 }}
  http-request return status 200 content-type application/json file {folder}/answer.json
""")
    process = subprocess.Popen([program("haproxy"), "-f", f"{folder}/haproxy.cfg", "-db"], stderr=subprocess.DEVNULL)
    return until_it_listens(Peer(process, f"https://127.0.0.1:{port}/v1/me"))


def fastify(folder, body, database):
    """The key looked up in the same SQLite file, with its tenant and administrator, in one prepared statement."""
    port = free_port()
    modules = f"{folder}/npm"
    os.makedirs(modules, exist_ok=True)
    cache = os.environ.get("BENCH_NPM")
    if cache:
        modules = cache
    else:
        subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", "fastify@5", "better-sqlite3@12"],
                       cwd=modules, check=True)
    with open(f"{folder}/answer.json", "w") as f:
        f.write(body)
    server = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fastify.cjs")
    process = subprocess.Popen(["node", server, str(port), folder, database], env={**os.environ, "NODE_PATH": f"{modules}/node_modules"})
    return until_it_listens(Peer(process, f"https://127.0.0.1:{port}/v1/me"))
