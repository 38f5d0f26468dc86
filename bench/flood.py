"""A flood of unknown keys, from the good key's address and from another: its p99 before and meanwhile, and memory."""

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = os.environ.get("BENCH_PROGRAMS", os.path.join(ROOT, "target/release"))
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
# The good key's calls, and those of the flood, a second.
GOOD_RATE, FLOOD_RATE, FLOODERS, SECONDS, ROUNDS = 500, 2_000, 4, 8, 5


def in_base(number, alphabet, length):
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, len(alphabet))
        digits = alphabet[digit] + digits
    return digits


def unknown():
    text = f"iusk_dev_{in_base(random.getrandbits(128), CROCKFORD, 26)}_{in_base(random.getrandbits(256), BASE62, 43)}"
    return text + in_base(zlib.crc32(text.encode()), BASE62, 6)


def flood(address, source, ca_file, until, told):
    """Sends unknown keys at its part of the rate, and tells how many were answered with which status."""
    context = ssl.create_default_context(cafile=ca_file)
    tls = context.wrap_socket(socket.create_connection(address, source_address=(source, 0)), server_hostname="localhost")
    answers, gap, at = {}, FLOODERS / FLOOD_RATE, time.monotonic()
    while time.monotonic() < until:
        at += gap
        time.sleep(max(0.0, at - time.monotonic()))
        tls.sendall(f"GET /v1/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {unknown()}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += tls.recv(65536)
        head, rest = answer.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
        while len(rest) < length:
            rest += tls.recv(65536)
        status = int(head.split(b" ")[1])
        answers[status] = answers.get(status, 0) + 1
    told.put(answers)


def good(address, key, ca_file):
    """Median and 99th percentile in microseconds. It fails where one call is refused."""
    program = os.path.join(PROGRAMS, "examples/open_loop")
    where = f"{address[0]}:{address[1]}"
    out = subprocess.run([program, where, "/v1/me", key, ca_file, str(GOOD_RATE), "8", str(SECONDS)],
                         capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"the good key was refused: {out.stderr}")
    return [int(word) for word in out.stdout.split()][1:]


def memory_mb(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1)) / 1024


def median(numbers):
    return sorted(numbers)[len(numbers) // 2]


def main():
    folder = tempfile.mkdtemp(prefix="iusign-flood-")
    server = subprocess.Popen(
        [os.path.join(PROGRAMS, "iusign"), "quickstart", "--data-dir", f"{folder}/data", "--listen", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    try:
        ready = json.loads(server.stdout.readline())
        port = int(ready["url"].rsplit(":", 1)[1])
        address, key, ca_file = ("127.0.0.1", port), ready["key"], ready["ca_file"]
        good(address, key, ca_file)
        sides = {"no flood": None, "from its own address": "127.0.0.1", "from another": "127.0.0.9"}
        figures, answers, memory = {name: [] for name in sides}, {}, [memory_mb(server.pid)]
        for _ in range(ROUNDS):
            for name in random.sample(list(sides), len(sides)):
                told, until = multiprocessing.Queue(), time.monotonic() + SECONDS + 1
                flooders = [] if sides[name] is None else [
                    multiprocessing.Process(target=flood, args=(address, sides[name], ca_file, until, told))
                    for _ in range(FLOODERS)
                ]
                for flooder in flooders:
                    flooder.start()
                figures[name].append(good(address, key, ca_file))
                for flooder in flooders:
                    for status, count in told.get().items():
                        answers[status] = answers.get(status, 0) + count
                    flooder.join()
                memory.append(memory_mb(server.pid))
        base = median([p99 for _, p99 in figures["no flood"]])
        for name, rounds in figures.items():
            p50, p99 = (median([r[i] for r in rounds]) for i in (0, 1))
            print(f"{name:22} p50 {p50:6} us  p99 {p99:6} us  {p99 / base:.2f} x")
        print(f"load {os.getloadavg()[0]:.1f}; the flood was answered {answers}; the good key, {GOOD_RATE}/s, was never refused")
        print(f"memory {memory[0]:.1f} MB before, {memory[-1]:.1f} MB after, {max(memory):.1f} MB at most")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


main()
