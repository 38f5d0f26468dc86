"""Many keys at once: texts made here, rows put by set, each a copy of the first key's row with other ids."""

import hashlib
import os
import random
import sqlite3
import subprocess
import time
import zlib

BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEYS_PER_TENANT = 1_000


def encode(number, alphabet, length):
    text = []
    for _ in range(length):
        number, digit = divmod(number, len(alphabet))
        text.append(alphabet[digit])
    return "".join(reversed(text))


def uuid7(rng):
    value = (int(time.time() * 1000) << 80) | rng.getrandbits(80)
    value = value & ~(0xF << 76) | (7 << 76)
    return encode(value & ~(3 << 62) | (2 << 62), BASE32, 26)


def key(rng):
    """Its id and its text, as docs/reference/secret-keys.md has it."""
    name = uuid7(rng)
    head = f"iusk_dev_{name}_{encode(rng.getrandbits(256), BASE62, 43)}"
    return name, head + encode(zlib.crc32(head.encode()), BASE62, 6)


def rows(count, seed):
    """(tenant, user, key, secret, digest, last4) of each key, and the texts."""
    rng = random.Random(seed)
    made, texts = [], []
    tenant = user = None
    for number in range(count):
        if number % KEYS_PER_TENANT == 0:
            tenant, user = f"ten_{uuid7(rng)}", f"usr_{uuid7(rng)}"
        name, text = key(rng)
        made.append((tenant, user, f"key_{name}", f"sec_{uuid7(rng)}", hashlib.sha256(text.encode()).digest(), text[-4:]))
        texts.append(text)
    return made, texts


# Per table: what is other than in the row that is copied, and which rows of `fresh` it is made of.
COPIES = [
    ("tenants", {"id": "f.tenant_id"}, "(SELECT DISTINCT tenant_id FROM fresh) f"),
    ("users", {"id": "f.user_id", "tenant_id": "f.tenant_id", "email": "f.user_id || '@example.com'"},
     "(SELECT DISTINCT tenant_id, user_id FROM fresh) f"),
    ("keys", {"id": "f.key_id", "tenant_id": "f.tenant_id", "administrator_id": "f.user_id"}, "fresh f"),
    ("secrets", {"id": "f.secret_id", "key_id": "f.key_id", "tenant_id": "f.tenant_id", "digest": "f.digest",
                 "last4": "f.last4"}, "fresh f"),
]


def copy(table, other, source, columns, first):
    """INSERT of copies of the row `first`."""
    values = ", ".join(other.get(column, f"t.{column}") for column in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {source} CROSS JOIN {table} t WHERE t.id = '{first[table]}'"


def firsts(ask):
    return {table: ask(f"SELECT min(id) FROM {table}") for table, _, _ in COPIES}


def sqlite(path, count, seed=1):
    """Into the file of a server that is stopped. The texts."""
    made, texts = rows(count, seed)
    db = sqlite3.connect(path, isolation_level=None)
    first = firsts(lambda text: db.execute(text).fetchone()[0])
    db.execute("CREATE TEMP TABLE fresh (tenant_id, user_id, key_id, secret_id, digest, last4)")
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT INTO fresh VALUES (?, ?, ?, ?, ?, ?)", made)
    for table, other, source in COPIES:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        db.execute(copy(table, other, source, columns, first))
    db.execute("COMMIT")
    db.execute("ANALYZE")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return texts


def postgres(url, count, seed=2):
    made, texts = rows(count, seed)

    def psql(text, stdin=None):
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", text], input=stdin,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    first = firsts(psql)
    psql("CREATE UNLOGGED TABLE fresh (tenant_id text, user_id text, key_id text, secret_id text, digest bytea, last4 text)")
    psql("COPY fresh FROM STDIN", "".join("\t".join((a, b, c, d, "\\\\x" + e.hex(), f)) + "\n" for a, b, c, d, e, f in made))
    for table, other, source in COPIES:
        columns = psql(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' AND table_schema = 'public' "
                       "ORDER BY ordinal_position").split("\n")
        psql(copy(table, other, source, columns, first))
    psql("DROP TABLE fresh")
    psql("VACUUM ANALYZE")
    return texts


def postgres_server(folder):
    """A PostgreSQL of our own, as `./test` has it: durable, on a port of its own. Its process and a URL without database."""
    from common import free_port

    bin_dir = sorted(d for d in (f"/usr/lib/postgresql/{v}/bin" for v in range(15, 20)) if os.path.isdir(d))[-1]
    data, port = f"{folder}/pg", free_port()
    as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.getuid() == 0 else []
    os.makedirs(data)
    if as_user:
        subprocess.run(["chown", "postgres", data], check=True)
    subprocess.run([*as_user, f"{bin_dir}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"], check=True,
                   capture_output=True)
    server = subprocess.Popen(
        [*as_user, f"{bin_dir}/postgres", "-D", data, "-p", str(port), "-k", data, "-c", "listen_addresses=127.0.0.1",
         "-c", "shared_buffers=512MB", "-c", "max_connections=200", "-c", "max_wal_size=4GB"], stderr=subprocess.DEVNULL)
    for _ in range(200):
        if subprocess.run([f"{bin_dir}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0:
            return server, f"postgres://postgres@127.0.0.1:{port}"
        time.sleep(0.05)
    raise SystemExit("PostgreSQL does not start")
