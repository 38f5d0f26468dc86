"""Figures of the release binary: the gate beside its peers, a batch's rows/s, seals/s, memory, start, size.

`measure.py` prints a table for README.md; `measure.py gate` or `measure.py rest` does a part.
"""

import datetime
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import fill
import gate
from common import BINARY, ROOT, children, cpu_seconds, machine, memory_mb


def start_iusign(folder, database=None):
    began = time.monotonic()
    command = [BINARY, "quickstart", "--data-dir", folder, "--listen", "127.0.0.1:0", "--json"]
    command += ["--database", database] if database else []
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
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


def template(api):
    with open(os.path.join(ROOT, "web/sample/service-agreement.pdf"), "rb") as f:
        document = api.call("POST", "/v1/documents?filename=a.pdf", f.read(), "application/pdf")
    return api.call("POST", "/v1/templates", {
        "name": "Bench", "documents": [document["id"]], "roles": [{"name": "Client"}],
        "fields": [{"type": "signature", "anchor": {"text": "Signed for the client", "dy": 16}, "width": 190, "height": 40}],
    })


def batch(api, pid, rows):
    made = api.call("POST", "/v1/batches", {"name": "Bench", "template": {"id": template(api)["id"]}})
    lines = ["external_id,Client.name,Client.email"] + [f"b-{n},Person {n},p{n}@example.com" for n in range(rows)]
    began = time.monotonic()
    api.call("PUT", f"/v1/batches/{made['id']}/rows", "\n".join(lines).encode(), "text/csv")
    put = time.monotonic() - began
    began, cpu = time.monotonic(), cpu_seconds([pid])
    api.call("POST", f"/v1/batches/{made['id']}/start", {})
    # A long poll: who asks all the time has a share of the two cores.
    while not api.call("GET", "/v1/events?types=batch.completed&wait=20")["data"]:
        pass
    return rows / put, rows / (time.monotonic() - began), (cpu_seconds([pid]) - cpu) / rows * 1e6


def singles(api, at_once, seconds):
    """Envelopes made one by one, on so many connections: how many a second."""
    body = json.dumps({"template": {"id": template(api)["id"]}, "send": True,
                       "recipients": [{"role": "Client", "name": "Taro", "email": "taro@example.com"}]})
    headers = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/json"}
    made, until = [0] * at_once, time.monotonic() + seconds

    def go(which):
        connection = http.client.HTTPSConnection(api.url.removeprefix("https://"), context=api.context)
        while time.monotonic() < until:
            connection.request("POST", "/v1/envelopes", body, headers)
            answer = connection.getresponse()
            assert answer.status == 201, answer.read()
            answer.read()
            made[which] += 1

    threads = [threading.Thread(target=go, args=(which,)) for which in range(at_once)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(made) / (time.monotonic() - began)


def rest(folder, postgres_url):
    """Batches and single creations on both databases; memory, start and size."""
    subprocess.run(["psql", "-X", "-q", "-d", f"{postgres_url}/postgres", "-c", "CREATE DATABASE rest"], check=True)
    table = []
    for engine, database in (("SQLite", None), ("PostgreSQL", f"{postgres_url}/rest")):
        server, ready, started = start_iusign(f"{folder}/rest-{engine}", database)
        try:
            time.sleep(1)
            idle, workers = memory_mb(server.pid), sum(map(memory_mb, children(server.pid)))
            api = Api(ready)
            put, made, cpu = batch(api, server.pid, 10_000)
            after = memory_mb(server.pid)
            one, many = singles(api, 1, 5), singles(api, 64, 5)
        finally:
            server.terminate()
            server.wait(timeout=30)
        table += [
            (7, f"a batch over HTTP on {engine}, envelopes made and sent: 5,000/s", "",
             f"{made:,.0f}/s, {cpu:.0f} µs of CPU each (10,000 rows; put at {put:,.0f}/s; {after:.0f} MB after it)"),
            (8, f"single creations on {engine}, 64 at once: 5 × the rate of one at a time", "",
             f"{many / one:.1f} × ({many:,.0f}/s against {one:,.0f}/s, a commit each)"),
            (12, f"idle memory < 50 MB, start < 300 ms, on {engine}", "",
             f"{idle:.0f} MB after `quickstart`, its workers {workers:.0f} MB; {started * 1000:.0f} ms for a first start"),
        ]
    return table + [(12, "binary < 40 MB", "", f"{os.path.getsize(BINARY) / 1e6:.0f} MB")]


def main():
    parts = sys.argv[1:] or ["gate", "rest", "seals"]
    folder = tempfile.mkdtemp(prefix="iusign-bench-")
    os.chmod(folder, 0o755)
    table = []
    try:
        postgres, url = fill.postgres_server(folder)
        try:
            if "gate" in parts:
                table += gate.measure(folder, url)
            if "rest" in parts:
                table += rest(folder, url)
        finally:
            postgres.terminate()
            postgres.wait(timeout=30)
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
