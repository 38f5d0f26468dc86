"""The gate beside its peers: goals 1 to 6 of the design's page on speed, in one run, rounds in random order."""

import json
import os
import random
import ssl
import statistics
import subprocess
import time
import urllib.request

import fill
import peers
from common import BINARY, closed_loop, cpu_seconds, family, http2, medians

ROUNDS, SECONDS, CONNECTIONS = 5, 3, 64
COUNTS = (10, 10_000, 1_000_000)
# Keys that are used at one time, at most.
USED_MAX = 10_000
OPEN_LOOP_PER_S, OPEN_LOOP_CONNECTIONS, OPEN_LOOP_SECONDS = 4_000, 32, 4
H2_CONNECTIONS, H2_STREAMS, H2_REQUESTS = 8, 8, 40_000
REVOCATIONS, HAMMER_PER_S = 300, 300
OPEN_LOOP = os.path.join(os.path.dirname(BINARY), "examples/open_loop")


class Iusign:
    """One of our servers on a folder of its own; with `url` on PostgreSQL."""

    def __init__(self, folder, database=None):
        self.folder, self.database, self.key = folder, database, None

    def start(self):
        began = time.monotonic()
        command = [BINARY, "quickstart", "--data-dir", self.folder, "--listen", "127.0.0.1:0", "--json"]
        if self.database:
            command += ["--database", self.database]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        ready = json.loads(self.process.stdout.readline())
        self.key, self.ca_file, self.base = ready.get("key") or self.key, ready["ca_file"], ready["url"]
        self.url = f"{self.base}/v1/me"
        return time.monotonic() - began

    def pids(self):
        return family(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)

    def call(self, method, path, key=None):
        request = urllib.request.Request(self.base + path, method=method, headers={"Authorization": f"Bearer {key or self.key}"})
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=self.ca_file)) as answer:
            return json.loads(answer.read())


def servers(folder, postgres_url):
    """Ours at each number of keys on each database: name → (server, file of keys, start in s)."""
    made = {}
    for engine in ("SQLite", "PostgreSQL") if postgres_url else ("SQLite",):
        for count in COUNTS:
            name = f"{engine}, {count:,} keys"
            database = f"{postgres_url}/bench{count}" if engine == "PostgreSQL" else None
            if database:
                subprocess.run(["psql", "-X", "-q", "-d", f"{postgres_url}/postgres", "-c", f"CREATE DATABASE bench{count}"], check=True)
            server = Iusign(f"{folder}/{engine}-{count}", database)
            server.start()
            server.stop()
            texts = fill.postgres(database, count) if database else fill.sqlite(f"{server.folder}/iusign.db", count)
            keys = f"{folder}/{engine}-{count}.txt"
            with open(keys, "w") as f:
                f.write("\n".join(random.sample(texts, min(count, USED_MAX))) + "\n")
            made[name] = (server, keys, server.start())
            print(f"  {name}: start {made[name][2] * 1000:.0f} ms", flush=True)
            # Every key once, so that each is remembered.
            left = min(count, USED_MAX)
            while left > 0:
                left -= closed_loop(server.url, keys, CONNECTIONS, 2)[0]
    return made


def rounds(sides, load):
    """{name: (pids, what to load)} → {name: (CPU µs per request, requests/s, p99 ms)}, medians over rounds in random order."""
    figures = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name in random.sample(list(sides), len(sides)):
            pids, target = sides[name]
            before = cpu_seconds(pids)
            requests, rate, p99 = load(*target)
            figures[name].append(((cpu_seconds(pids) - before) / requests * 1e6, rate, p99))
    return {name: medians(values) for name, values in figures.items()}


def open_loop(sides):
    """{name: (url, key, ca)} → {name: (p50 µs, p99 µs)}."""
    figures = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name in random.sample(list(sides), len(sides)):
            url, key, ca_file = sides[name]
            address, _, path = url.removeprefix("https://").partition("/")
            out = subprocess.run(
                [OPEN_LOOP, address, f"/{path}", key, ca_file, str(OPEN_LOOP_PER_S), str(OPEN_LOOP_CONNECTIONS), str(OPEN_LOOP_SECONDS)],
                capture_output=True, text=True, check=True).stdout
            answers, p50, p99 = map(int, out.split())
            assert answers == OPEN_LOOP_PER_S * OPEN_LOOP_SECONDS, out
            figures[name].append((p50, p99))
    return {name: medians(values) for name, values in figures.items()}


def revocations(folder, postgres_url):
    """Three nodes under load: revoke at one, ask all three at once after the answer. Later accepts, p50 and p99 in ms."""
    subprocess.run(["psql", "-X", "-q", "-d", f"{postgres_url}/postgres", "-c", "CREATE DATABASE nodes"], check=True)
    first = Iusign(f"{folder}/nodes", f"{postgres_url}/nodes")
    first.start()
    texts = fill.postgres(first.database, REVOCATIONS + 1, seed=3)
    nodes = [first, Iusign(first.folder, first.database), Iusign(first.folder, first.database)]
    for node in nodes[1:]:
        node.key = first.key
        node.start()
    hammers = [hammer(node, texts[-1]) for node in nodes]
    took, accepted = [], 0
    clients = [Client(node) for node in nodes]
    for number, text in enumerate(texts[:REVOCATIONS]):
        for client in clients:
            assert client.status("GET", "/v1/me", text) == 200
        revoker = clients[number % 3]
        name = text.split("_")[2]
        began = time.monotonic()
        # Each key revokes itself: it sees its own tenant alone.
        assert revoker.status("POST", f"/v1/keys/key_{name}/revoke", text) == 200
        took.append((time.monotonic() - began) * 1000)
        accepted += sum(client.status("GET", "/v1/me", text) == 200 for client in clients)
    for process in hammers:
        process.terminate()
        process.wait()
    for node in nodes:
        node.stop()
    took.sort()
    return accepted, statistics.median(took), took[len(took) * 99 // 100]


def hammer(node, key):
    """Load that leaves the machine room: an open loop."""
    command = [OPEN_LOOP, node.base.removeprefix("https://"), "/v1/me", key, node.ca_file, str(HAMMER_PER_S), "8", "600"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


class Client:
    """A connection that is kept."""

    def __init__(self, node):
        import http.client

        host, port = node.base.removeprefix("https://").split(":")
        self.connection = http.client.HTTPSConnection(host, int(port), context=ssl.create_default_context(cafile=node.ca_file))

    def status(self, method, path, key):
        self.connection.request(method, path, headers={"Authorization": f"Bearer {key}"})
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


def measure(folder, postgres_url=None):
    """Everything; the lines of the table, (number, goal, floor, figure)."""
    ours = servers(folder, postgres_url)
    few, keys, _ = ours[f"SQLite, {COUNTS[0]:,} keys"]
    with open(keys) as f:
        texts = f.read().split()
    body = json.dumps(few.call("GET", "/v1/me", texts[0]), separators=(",", ":")).replace("'", "")
    peers.certificate(folder)
    nginx = peers.nginx(folder, body)
    haproxy = peers.haproxy(folder, body, texts)
    fastify = peers.fastify(folder, body, f"{few.folder}/iusign.db")
    beside = {"nginx": nginx, "HAProxy": haproxy, "fastify": fastify}
    try:
        sides = {name: (server.pids(), (server.url, keys, CONNECTIONS, SECONDS)) for name, (server, keys, _) in ours.items()}
        sides |= {name: (peer.pids(), (peer.url, keys, CONNECTIONS, SECONDS)) for name, peer in beside.items()}
        h1 = rounds(sides, closed_loop)
        for name, (cpu, rate, p99) in h1.items():
            print(f"  HTTP/1.1 {name:24} {cpu:7.1f} µs CPU/request {rate:9.0f} requests/s  p99 {p99:.2f} ms", flush=True)
        load = (texts[0], H2_CONNECTIONS, H2_STREAMS, H2_REQUESTS)
        h2 = rounds({"SQLite": (few.pids(), (few.url, *load)), "nginx": (nginx.pids(), (nginx.url, *load))}, http2)
        for name, (cpu, rate, _) in h2.items():
            print(f"  HTTP/2   {name:24} {cpu:7.1f} µs CPU/request {rate:9.0f} requests/s", flush=True)
        late = open_loop({"SQLite": (few.url, texts[0], few.ca_file), "nginx": (nginx.url, texts[0], f"{folder}/c.pem")})
        for name, (p50, p99) in late.items():
            print(f"  4,000/s  {name:24} p50 {p50} µs  p99 {p99} µs", flush=True)
    finally:
        for peer in beside.values():
            peer.stop()
        for server, _, _ in ours.values():
            server.stop()
    base = f"SQLite, {COUNTS[0]:,} keys"
    ratio = lambda name, unit=h1: unit[name][0] / unit[base][0]
    table = [
        (1, "`GET /v1/me` per CPU second ÷ nginx's fixed answer: 0.80", "0.70",
         f"{ratio('nginx'):.2f} ({h1[base][0]:.1f} µs against {h1['nginx'][0]:.1f} µs; {h1[base][1]:,.0f} against {h1['nginx'][1]:,.0f} requests/s)"),
        (2, "÷ HAProxy with the same checks: 1.3; ÷ fastify and SQLite: 5", "",
         f"{ratio('HAProxy'):.2f} ({h1['HAProxy'][0]:.1f} µs); {ratio('fastify'):.1f} ({h1['fastify'][0]:.1f} µs)"),
        (3, "HTTP/2 ÷ nginx's fixed answer: 0.60", "",
         f"{h2['nginx'][0] / h2['SQLite'][0]:.2f} ({h2['SQLite'][0]:.1f} µs against {h2['nginx'][0]:.1f} µs)"),
        (4, "open loop at 4,000/s: p50 ≤ 1.5 ×, p99 ≤ 1.25 × nginx's", "",
         f"{late['SQLite'][0] / late['nginx'][0]:.2f}, {late['SQLite'][1] / late['nginx'][1]:.2f} "
         f"({late['SQLite'][0]:.0f} and {late['SQLite'][1]:.0f} µs against {late['nginx'][0]:.0f} and {late['nginx'][1]:.0f} µs)"),
    ]
    if postgres_url:
        accepted, p50, p99 = revocations(folder, postgres_url)
        table.append((5, "revocation on three nodes: no later accept, p50 < 10 ms, p99 < 50 ms", "",
                      f"{accepted} of {REVOCATIONS} under load; {p50:.1f} ms, {p99:.1f} ms"))
    for engine in ("SQLite", "PostgreSQL") if postgres_url else ("SQLite",):
        name = lambda count: f"{engine}, {count:,} keys"
        cpu = " / ".join(f"{h1[name(count)][0]:.1f}" for count in COUNTS)
        start = " / ".join(f"{ours[name(count)][2] * 1000:.0f}" for count in COUNTS)
        table.append((6, f"1,000,000 keys, 10,000 of them in use, against 10, on {engine}: CPU ≤ 1.25 ×, start does not grow", "",
                      f"{h1[name(COUNTS[-1])][0] / h1[name(COUNTS[0])][0]:.2f} ({cpu} µs at 10, 10,000 and 1,000,000; start {start} ms)"))
    return table
