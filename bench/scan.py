"""`iusign scan` beside ripgrep on a planted corpus: found, false, and time."""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib

BINARY = sys.argv[1]
ROUNDS, MEBIBYTES, PLANTED = 5, 1024, 1000
PATTERN = "iusk_(?:dev|stg|prod)_[0-9a-hjkmnp-tv-z]{26}_[0-9A-Za-z]{49}"
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def base62(number, width):
    text = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        text = LETTERS[digit] + text
    return text


def key(dice):
    name = dice.choice(CROCKFORD[:8]) + "".join(dice.choice(CROCKFORD) for _ in range(25))
    head = f"iusk_{dice.choice(['dev', 'stg', 'prod'])}_{name}_{base62(dice.getrandbits(256), 43)}"
    return head + base62(zlib.crc32(head.encode()), 6)


def corpus(folder):
    """Text like source code: the files of this tree and words, in files of 4 KiB to 4 MiB. Half of what looks like a key is none."""
    dice = random.Random(1)
    words = []
    for place, _, names in os.walk("crates"):
        for name in names:
            if name.endswith((".rs", ".sql", ".html", ".toml")):
                with open(os.path.join(place, name), encoding="utf-8") as f:
                    words.append(f.read().replace("iusk_", "iuskX"))
    text = "".join(words)
    sizes, left = [], MEBIBYTES << 20
    while left > 0:
        sizes.append(min(left, int(4096 * 2 ** dice.uniform(0, 10))))
        left -= sizes[-1]
    keys, at = set(), 0
    for number, size in enumerate(sizes):
        at = (at + 7919) % len(text)
        content = (text[at:] + text * (size // len(text) + 1))[:size]
        if number % (len(sizes) // PLANTED + 1) == 0:
            place, good = dice.randrange(len(content)), key(dice)
            keys.add(good)
            wrong = good[:-1] + ("1" if good[-1] == "0" else "0")
            content = content[:place] + good + content[place:] + wrong
        path = os.path.join(folder, f"{number % 64}", f"{number}.txt")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(content)
    return keys, len(sizes)


def timed(command):
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return time.monotonic() - began, done


def main():
    # In memory, so that the search is measured and not the disk.
    folder = tempfile.mkdtemp(dir="/dev/shm" if shutil.disk_usage("/dev/shm").free > (MEBIBYTES << 20) * 1.2 else None)
    try:
        keys, files = corpus(folder)
        commands = {
            "iusign scan": [BINARY, "scan", "--json", folder],
            "rg": ["rg", "--no-config", "-uuu", "--text", "--only-matching", "--no-filename", "--no-line-number", PATTERN, folder],
        }
        times = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name in random.sample(list(commands), 2):
                seconds, done = timed(commands[name])
                times[name].append(seconds)
                if name == "rg":
                    matches = set(done.stdout.decode().split())
                else:
                    lines = [json.loads(line) for line in done.stdout.splitlines()]
        found = [line for line in lines if line.get("found") == "key"]
        want = sorted((k.split("_")[2], k[-4:]) for k in keys)
        got = sorted((line["key"].split("_")[1], line["last4"]) for line in found)
        size = lines[-1]["bytes"] / (1 << 30)
        print(f"{files} files, {size:.2f} GiB in {folder}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
        print(f"planted {len(keys)}; iusign found {len(found)}, missed {len(set(want) - set(got))}, false {len(set(got) - set(want))};"
              f" rg matched {len(matches)} (it has no checksum)")
        for name, values in times.items():
            median = statistics.median(values)
            print(f"{name:12} {median:.3f} s  {size / median:.2f} GiB/s  (of {', '.join(f'{v:.3f}' for v in sorted(values))})")
    finally:
        shutil.rmtree(folder)


main()
