"""Figures of the release binary: GET /v1/me beside nginx's fixed answer, batch rows/s, seals/s, memory, start."""

import json
import os
import random
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARY = os.path.join(ROOT, "target/release/iusign")
CONNECTIONS, SECONDS, ROUNDS = 64, 5, 5
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_mb(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1)) / 1024


def children(pid):
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in out.split()]


def start_iusign(folder):
    began = time.monotonic()
    server = subprocess.Popen(
        [BINARY, "quickstart", "--data-dir", folder, "--listen", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    ready = json.loads(server.stdout.readline())
    return server, ready, time.monotonic() - began


def start_nginx(folder, body):
    port = free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", f"{folder}/k.pem", "-out", f"{folder}/c.pem"],
        check=True, capture_output=True,
    )
    with open(f"{folder}/nginx.conf", "w") as f:
        f.write(f"""
worker_processes 2; daemon off; error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/c.pem; ssl_certificate_key {folder}/k.pem;
    ssl_protocols TLSv1.3; default_type application/json; location / {{ return 200 '{body}'; }} }} }}
""")
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    server = subprocess.Popen([program, "-c", f"{folder}/nginx.conf"], stderr=subprocess.DEVNULL)
    for _ in range(100):
        time.sleep(0.05)
        if len(children(server.pid)) >= 2:
            break
    return server, f"https://127.0.0.1:{port}"


def load(url, key):
    out = subprocess.run(
        ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{SECONDS}s", "--latency", "-H", f"Authorization: Bearer {key}", url],
        capture_output=True, text=True, check=True,
    ).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    return requests, float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), re.search(r"99%\s+(\S+)", out).group(1), bad


class Api:
    def __init__(self, ready):
        self.url, self.key = ready["url"], ready["key"]
        self.context = ssl.create_default_context(cafile=ready["ca_file"])

    def call(self, method, path, body=None, kind="application/json"):
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, context=self.context) as answer:
            return json.loads(answer.read())


def batch(api, rows):
    with open(os.path.join(ROOT, "web/sample/service-agreement.pdf"), "rb") as f:
        document = api.call("POST", "/v1/documents?filename=a.pdf", f.read(), "application/pdf")
    template = api.call("POST", "/v1/templates", {
        "name": "Bench", "documents": [document["id"]], "roles": [{"name": "Client"}],
        "fields": [{"type": "signature", "anchor": {"text": "Signed for the client", "dy": 16}, "width": 190, "height": 40}],
    })
    made = api.call("POST", "/v1/batches", {"name": "Bench", "template": {"id": template["id"]}})
    lines = ["external_id,Client.name,Client.email"] + [f"b-{n},Person {n},p{n}@example.com" for n in range(rows)]
    began = time.monotonic()
    api.call("PUT", f"/v1/batches/{made['id']}/rows", "\n".join(lines).encode(), "text/csv")
    put = time.monotonic() - began
    began = time.monotonic()
    api.call("POST", f"/v1/batches/{made['id']}/start", {})
    while api.call("GET", f"/v1/batches/{made['id']}")["created"] < rows:
        time.sleep(0.02)
    return rows / put, rows / (time.monotonic() - began)


def main():
    folder = tempfile.mkdtemp(prefix="iusign-bench-")
    server = nginx = None
    try:
        server, ready, started = start_iusign(f"{folder}/data")
        time.sleep(1)
        print(f"binary {os.path.getsize(BINARY) / 1e6:.1f} MB; first start {started * 1000:.0f} ms; "
              f"idle memory {memory_mb(server.pid):.1f} MB, its workers {sum(map(memory_mb, children(server.pid))):.1f} MB")
        api = Api(ready)
        body = json.dumps(api.call("GET", "/v1/me"))
        nginx, nginx_url = start_nginx(folder, body.replace("'", ""))
        sides = {"iusign": (ready["url"] + "/v1/me", [server.pid]), "nginx": (nginx_url + "/", children(nginx.pid))}
        figures = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name in random.sample(list(sides), 2):
                url, pids = sides[name]
                before = cpu_seconds(pids)
                requests, rate, p99, bad = load(url, ready["key"])
                assert not bad, f"{name}: {bad.group(0)}"
                figures[name].append((rate, (cpu_seconds(pids) - before) / requests * 1e6, p99))
        medians = {}
        for name, rounds in figures.items():
            rate, cpu = (statistics.median(r[i] for r in rounds) for i in (0, 1))
            medians[name] = (rate, cpu)
            print(f"{name:7} {rate:9.0f} requests/s  {cpu:6.1f} us CPU/request  p99 {sorted(r[2] for r in rounds)[len(rounds) // 2]}")
        print(f"GET /v1/me against nginx's fixed answer: {medians['iusign'][0] / medians['nginx'][0]:.2f} of its requests/s, "
              f"{medians['nginx'][1] / medians['iusign'][1]:.2f} of its requests per CPU second (goal 0.80)")
        put, made = batch(api, 10_000)
        print(f"batch of 10,000: rows put at {put:.0f}/s, envelopes made and sent at {made:.0f}/s")
        print(f"memory after that {memory_mb(server.pid):.1f} MB")
    finally:
        for process in (server, nginx):
            if process:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.flush()
    subprocess.run(["cargo", "run", "--release", "--quiet", "-p", "iusign-seal", "--example", "stages"], cwd=ROOT, check=False)


main()
