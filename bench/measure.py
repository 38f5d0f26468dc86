"""Figures of the release binary: the gate beside its peers, a batch's rows/s, seals/s, memory, start, size.

`measure.py` prints a table for README.md; `measure.py gate` or `measure.py rest` does a part.
"""

import datetime
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

import fill
import gate
from common import BINARY, ROOT, children, machine, memory_mb


def start_iusign(folder):
    began = time.monotonic()
    server = subprocess.Popen(
        [BINARY, "quickstart", "--data-dir", folder, "--listen", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    ready = json.loads(server.stdout.readline())
    return server, ready, time.monotonic() - began


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


def rest(folder):
    """A batch, memory, start and size."""
    server, ready, started = start_iusign(f"{folder}/data")
    try:
        time.sleep(1)
        idle = memory_mb(server.pid)
        workers = sum(map(memory_mb, children(server.pid)))
        put, made = batch(Api(ready), 10_000)
        return [
            (7, "a batch over HTTP, envelopes made and sent: 5,000/s", "",
             f"{made:,.0f}/s on SQLite (10,000 rows; rows put at {put:,.0f}/s; {memory_mb(server.pid):.0f} MB after it)"),
            (12, "binary < 40 MB", "", f"{os.path.getsize(BINARY) / 1e6:.0f} MB"),
            (12, "idle memory < 50 MB", "", f"{idle:.0f} MB after `quickstart`, its workers {workers:.0f} MB"),
            (12, "start < 300 ms", "", f"{started * 1000:.0f} ms for a first start"),
        ]
    finally:
        server.terminate()
        server.wait(timeout=30)


def main():
    parts = sys.argv[1:] or ["gate", "rest", "seals"]
    folder = tempfile.mkdtemp(prefix="iusign-bench-")
    os.chmod(folder, 0o755)
    table = []
    try:
        if "gate" in parts:
            postgres, url = fill.postgres_server(folder)
            try:
                table += gate.measure(folder, url)
            finally:
                postgres.terminate()
                postgres.wait(timeout=30)
        if "rest" in parts:
            table += rest(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    one, five, fifteen = os.getloadavg()
    print(f"\n{datetime.date.today()}, {machine()}, load {one:.1f} {five:.1f} {fifteen:.1f}\n")
    print("| # | goal | floor | figure |\n|---|---|---|---|")
    for number, goal, floor, figure in table:
        print(f"| {number} | {goal} | {floor} | {figure} |")
    sys.stdout.flush()
    if "seals" in parts:
        subprocess.run(["cargo", "run", "--release", "--quiet", "-p", "iusign-seal", "--example", "stages"], cwd=ROOT, check=False)


if __name__ == "__main__":
    main()
