"""What every measurement needs: the programs beside us, their processes, CPU time, memory, loads and medians."""

import os
import re
import socket
import statistics
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARY = os.environ.get("BENCH_BINARY", os.path.join(ROOT, "target/release/iusign"))
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children(pid):
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in out.split()]


def family(pid):
    """The process and all beneath it."""
    return [pid] + [p for child in children(pid) for p in family(child)]


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except FileNotFoundError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_mb(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1)) / 1024


def machine():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*:\s*(.*)", f.read()).group(1)
    with open("/etc/os-release") as f:
        system = re.search(r'PRETTY_NAME="(.*)"', f.read()).group(1)
    return f"{os.cpu_count()} cores, {model}, {system}"


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
    return done.stdout


def closed_loop(url, keys_file, connections, seconds):
    """wrk over HTTP/1.1 keep-alive, each request with a key of the file. Requests, requests/s, p99 in ms."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "keys.lua")
    out = run(
        ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency", "-s", script, url, "--", keys_file])
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out) or re.search(r"Socket errors.*", out)
    assert not bad, f"{url}: {bad.group(0)}"
    return (int(re.search(r"(\d+) requests in", out).group(1)), float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            milliseconds(re.search(r"^\s+99%\s+(\S+)", out, re.M).group(1)))


def http2(url, key, connections, streams, requests):
    """h2load. Requests, requests/s."""
    out = run(
        ["h2load", "-t", "1", "-c", str(connections), "-m", str(streams), "-n", str(requests),
         "-H", f"Authorization: Bearer {key}", url])
    good = int(re.search(r"(\d+) 2xx", out).group(1))
    assert good == requests and "Application protocol: h2" in out, out
    return good, float(re.search(r"([\d.]+) req/s", out).group(1)), 0.0


def medians(rounds):
    return tuple(statistics.median(values) for values in zip(*rounds))
