-- The first schema. Times are UTC milliseconds; JSON is TEXT; booleans are 0 or 1.
-- Columns hold what is searched, joined or guarded; `body` holds the rest of a noun as JSON.

CREATE TABLE tenants (
    id         TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    tier       TEXT NOT NULL CHECK (tier IN ('free', 'standard', 'enterprise')),
    status     TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    allowlist  TEXT NOT NULL,
    allowlist_mode TEXT NOT NULL DEFAULT 'enforce' CHECK (allowlist_mode IN ('enforce', 'observe')),
    policies   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    id            TEXT NOT NULL PRIMARY KEY,
    tenant_id     TEXT NOT NULL REFERENCES tenants (id),
    email         TEXT NOT NULL,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'user', 'viewer')),
    status        TEXT NOT NULL CHECK (status IN ('invited', 'active', 'suspended', 'removed')),
    password_hash TEXT,
    created_at    INTEGER NOT NULL,
    version       INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_by_email ON users (tenant_id, email) WHERE status <> 'removed';
CREATE UNIQUE INDEX users_owner ON users (tenant_id) WHERE role = 'owner';

CREATE TABLE keys (
    id               TEXT NOT NULL PRIMARY KEY,
    tenant_id        TEXT NOT NULL REFERENCES tenants (id),
    environment      TEXT NOT NULL CHECK (environment IN ('development', 'staging', 'production')),
    label            TEXT NOT NULL,
    status           TEXT NOT NULL CHECK (status IN ('pending', 'active', 'suspended', 'revoked', 'expired')),
    status_at        INTEGER NOT NULL,
    reason           TEXT,
    administrator_id TEXT NOT NULL REFERENCES users (id),
    created_by       TEXT NOT NULL,
    parent_key_id    TEXT,
    scopes           TEXT NOT NULL,
    allowlist        TEXT NOT NULL,
    allowlist_mode TEXT NOT NULL DEFAULT 'enforce' CHECK (allowlist_mode IN ('enforce', 'observe')),
    expires_at       INTEGER,
    note             TEXT NOT NULL,
    tags             TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    version          INTEGER NOT NULL
) STRICT;
CREATE INDEX keys_by_tenant ON keys (tenant_id, environment, id);
CREATE INDEX keys_expiring ON keys (expires_at) WHERE expires_at IS NOT NULL AND status IN ('pending', 'active', 'suspended');
CREATE INDEX keys_by_administrator ON keys (administrator_id);

-- A key's secrets: SHA-256 of the whole text, never the text. Digests of dead ones are kept, so that who presents
-- the right one is told what became of it.
CREATE TABLE secrets (
    id         TEXT NOT NULL PRIMARY KEY,
    key_id     TEXT NOT NULL REFERENCES keys (id),
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    digest     BLOB NOT NULL,
    last4      TEXT NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('current', 'pending', 'ending', 'dead')),
    created_at INTEGER NOT NULL,
    ends_at    INTEGER,
    -- Of a pending one, for its first use: how long the old one lives on, or how long it has to be silent to end.
    grace_ms   INTEGER,
    silent_ms  INTEGER,
    -- Of one that a rotation made, when it was first used: since then the old one ends.
    first_used_at INTEGER
) STRICT;
CREATE INDEX secrets_by_key ON secrets (key_id);
-- For reports of leaks, which may name a secret by its digest alone.
CREATE INDEX secrets_by_digest ON secrets (digest);
CREATE INDEX secrets_second ON secrets (key_id) WHERE status IN ('pending', 'ending');

-- Last use: telemetry, in a table of its own that the epoch does not see.
CREATE TABLE key_uses (
    secret_id  TEXT NOT NULL PRIMARY KEY REFERENCES secrets (id),
    key_id     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    address    TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    route      TEXT NOT NULL
) STRICT;
CREATE INDEX key_uses_by_key ON key_uses (key_id);

-- One random id a tenant, replaced in the transaction of every change to what the gate reads (see the triggers below).
CREATE TABLE epochs (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    epoch     BLOB NOT NULL
) STRICT;

CREATE TABLE audit (
    id          TEXT NOT NULL PRIMARY KEY,
    tenant_id   TEXT NOT NULL REFERENCES tenants (id),
    environment TEXT,
    seq         INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    actor       TEXT NOT NULL,
    -- The user's, key's or recipient's id, or `operator` or `system`.
    actor_id    TEXT NOT NULL GENERATED ALWAYS AS (coalesce(actor ->> 'id', actor ->> 'type')) STORED,
    action      TEXT NOT NULL,
    object      TEXT NOT NULL,
    address     TEXT,
    request_id  TEXT,
    before      TEXT,
    after       TEXT,
    hash        BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX audit_by_seq ON audit (tenant_id, seq);
CREATE INDEX audit_by_object ON audit (tenant_id, object, seq);
CREATE INDEX audit_by_actor ON audit (tenant_id, actor_id, at);

-- The dense numbers: `name` is 'audit' (environment '') or 'events'. Its row lock is the last that a transaction takes.
CREATE TABLE counters (
    tenant_id   TEXT NOT NULL,
    environment TEXT NOT NULL,
    name        TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    PRIMARY KEY (tenant_id, environment, name)
) STRICT;

CREATE TABLE events (
    tenant_id    TEXT NOT NULL,
    environment  TEXT NOT NULL,
    seq          INTEGER NOT NULL,
    id           TEXT NOT NULL,
    type         TEXT NOT NULL,
    envelope_id  TEXT,
    envelope_seq INTEGER,
    object_id    TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    body         TEXT NOT NULL,
    salts        TEXT NOT NULL,
    hash         BLOB,
    PRIMARY KEY (tenant_id, environment, seq)
) STRICT;
CREATE UNIQUE INDEX events_by_envelope ON events (envelope_id, envelope_seq) WHERE envelope_id IS NOT NULL;

CREATE TABLE documents (
    id          TEXT NOT NULL PRIMARY KEY,
    tenant_id   TEXT NOT NULL REFERENCES tenants (id),
    environment TEXT NOT NULL,
    filename    TEXT NOT NULL,
    size        INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    working     TEXT NOT NULL,
    body        TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX documents_by_tenant ON documents (tenant_id, environment, id);
-- For the sweep of files that no row names.
CREATE INDEX documents_by_sha256 ON documents (tenant_id, environment, sha256);
CREATE INDEX documents_by_working ON documents (tenant_id, environment, working);

CREATE TABLE templates (
    id          TEXT NOT NULL PRIMARY KEY,
    tenant_id   TEXT NOT NULL REFERENCES tenants (id),
    environment TEXT NOT NULL,
    name        TEXT NOT NULL,
    latest      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    version     INTEGER NOT NULL
) STRICT;
CREATE INDEX templates_by_tenant ON templates (tenant_id, environment, id);

-- Immutable: an envelope and a batch pin one.
CREATE TABLE template_versions (
    template_id TEXT NOT NULL REFERENCES templates (id),
    number      INTEGER NOT NULL,
    body        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (template_id, number)
) STRICT;

CREATE TABLE batches (
    id                   TEXT NOT NULL PRIMARY KEY,
    tenant_id            TEXT NOT NULL REFERENCES tenants (id),
    environment          TEXT NOT NULL,
    name                 TEXT NOT NULL,
    status               TEXT NOT NULL CHECK (status IN ('open', 'ready', 'running', 'paused', 'completed', 'cancelled')),
    status_at            INTEGER NOT NULL,
    template_id          TEXT NOT NULL REFERENCES templates (id),
    template_version     INTEGER NOT NULL,
    on_invalid           TEXT NOT NULL CHECK (on_invalid IN ('reject', 'skip')),
    send_rate_per_minute INTEGER,
    key_id               TEXT,
    rows_generation      INTEGER NOT NULL,
    total                INTEGER NOT NULL,
    valid                INTEGER NOT NULL,
    invalid              INTEGER NOT NULL,
    puts                 INTEGER NOT NULL,
    next_row             INTEGER NOT NULL,
    failed               INTEGER NOT NULL,
    problem              TEXT,
    body                 TEXT NOT NULL,
    created_by           TEXT NOT NULL,
    created_at           INTEGER NOT NULL,
    version              INTEGER NOT NULL
) STRICT;
CREATE INDEX batches_by_tenant ON batches (tenant_id, environment, id);

-- A put writes a generation of its own; it takes effect only when complete (`batches.rows_generation`).
CREATE TABLE batch_rows (
    batch_id    TEXT NOT NULL REFERENCES batches (id),
    generation  INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    line        INTEGER NOT NULL,
    external_id TEXT,
    status      TEXT NOT NULL CHECK (status IN ('valid', 'invalid', 'failed')),
    body        TEXT NOT NULL,
    errors      TEXT NOT NULL,
    PRIMARY KEY (batch_id, generation, number)
) STRICT;
CREATE INDEX batch_rows_by_external_id ON batch_rows (batch_id, generation, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX batch_rows_at_fault ON batch_rows (batch_id, generation, number) WHERE status <> 'valid';

CREATE TABLE envelopes (
    id               TEXT NOT NULL PRIMARY KEY,
    tenant_id        TEXT NOT NULL REFERENCES tenants (id),
    environment      TEXT NOT NULL,
    external_id      TEXT,
    allow_duplicate  INTEGER NOT NULL CHECK (allow_duplicate IN (0, 1)),
    title            TEXT NOT NULL,
    status           TEXT NOT NULL CHECK (status IN ('draft', 'sent', 'sealing', 'completed', 'declined', 'voided', 'expired')),
    status_at        INTEGER NOT NULL,
    template_id      TEXT,
    template_version INTEGER,
    batch_id         TEXT,
    batch_row        INTEGER,
    expires_at       INTEGER,
    "values"         TEXT NOT NULL,
    body             TEXT NOT NULL,
    problem          TEXT,
    last_event_id    TEXT,
    last_event_seq   INTEGER,
    envelope_seq     INTEGER NOT NULL,
    chain            BLOB NOT NULL,
    created_by       TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    version          INTEGER NOT NULL
) STRICT;
CREATE INDEX envelopes_by_tenant ON envelopes (tenant_id, environment, id);
CREATE INDEX envelopes_by_status ON envelopes (tenant_id, environment, status, id);
CREATE UNIQUE INDEX envelopes_by_external_id ON envelopes (tenant_id, environment, external_id)
    WHERE external_id IS NOT NULL AND allow_duplicate = 0;
CREATE UNIQUE INDEX envelopes_by_batch ON envelopes (batch_id, batch_row) WHERE batch_id IS NOT NULL;
CREATE INDEX envelopes_expiring ON envelopes (expires_at) WHERE status = 'sent' AND expires_at IS NOT NULL;

CREATE TABLE recipients (
    id              TEXT NOT NULL PRIMARY KEY,
    tenant_id       TEXT NOT NULL,
    environment     TEXT NOT NULL,
    envelope_id     TEXT NOT NULL REFERENCES envelopes (id),
    position        INTEGER NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('signer', 'approver', 'copy')),
    role            TEXT NOT NULL,
    name            TEXT NOT NULL,
    email           TEXT NOT NULL,
    turn            INTEGER NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('waiting', 'notified', 'viewed', 'completed', 'declined', 'replaced', 'voided', 'expired')),
    status_at       INTEGER NOT NULL,
    link_id         TEXT NOT NULL,
    link_generation INTEGER NOT NULL,
    body            TEXT NOT NULL,
    version         INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX recipients_by_envelope ON recipients (envelope_id, position);
CREATE UNIQUE INDEX recipients_by_link ON recipients (link_id);

-- A recipient's session in the signing room: bound to the link and its generation, the token stored as SHA-256.
CREATE TABLE room_sessions (
    id           TEXT NOT NULL PRIMARY KEY,
    recipient_id TEXT NOT NULL REFERENCES recipients (id),
    generation   INTEGER NOT NULL,
    digest       BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX room_sessions_by_recipient ON room_sessions (recipient_id);

CREATE TABLE assets (
    id           TEXT NOT NULL PRIMARY KEY,
    tenant_id    TEXT NOT NULL,
    environment  TEXT NOT NULL,
    envelope_id  TEXT NOT NULL REFERENCES envelopes (id),
    position     INTEGER NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('document', 'combined', 'certificate', 'audit')),
    document_id  TEXT,
    filename     TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size         INTEGER NOT NULL,
    sha256       TEXT NOT NULL,
    seal         TEXT,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX assets_by_envelope ON assets (envelope_id, position);
CREATE INDEX assets_by_sha256 ON assets (tenant_id, environment, sha256);

-- The outbox: one row per envelope, address, purpose and order step.
CREATE TABLE mails (
    id           TEXT NOT NULL PRIMARY KEY,
    tenant_id    TEXT NOT NULL,
    environment  TEXT NOT NULL,
    envelope_id  TEXT NOT NULL REFERENCES envelopes (id),
    recipient_id TEXT NOT NULL REFERENCES recipients (id),
    purpose      TEXT NOT NULL CHECK (purpose IN ('invite', 'completed', 'declined', 'voided', 'expired')),
    turn         INTEGER NOT NULL,
    address      TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('queued', 'captured', 'accepted', 'bounced', 'failed')),
    detail       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    state_at     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX mails_once ON mails (envelope_id, address, purpose, turn);
CREATE INDEX mails_by_tenant ON mails (tenant_id, environment, id);

-- A lease is a run_at in the future: who took the job last holds the highest `attempts`.
CREATE TABLE jobs (
    id          TEXT NOT NULL PRIMARY KEY,
    tenant_id   TEXT NOT NULL,
    environment TEXT NOT NULL,
    kind        TEXT NOT NULL,
    object      TEXT NOT NULL,
    body        TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('ready', 'parked')),
    run_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    error       TEXT,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_due ON jobs (kind, run_at) WHERE status = 'ready';
CREATE INDEX jobs_by_tenant ON jobs (kind, tenant_id, run_at) WHERE status = 'ready';
CREATE UNIQUE INDEX jobs_once ON jobs (kind, object);

-- What the whole installation agreed on once.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE idempotency (
    tenant_id   TEXT NOT NULL,
    environment TEXT NOT NULL,
    caller      TEXT NOT NULL,
    route       TEXT NOT NULL,
    key         TEXT NOT NULL,
    digest      BLOB,
    lease       TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    status      INTEGER,
    body        TEXT,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, environment, caller, route, key)
) STRICT;
CREATE INDEX idempotency_old ON idempotency (created_at);

-- Mails to users: invitations, keys that end, secrets in the wrong place. `once` says what a mail is about, so that
-- nobody is told twice.
CREATE TABLE notices (
    id          TEXT NOT NULL PRIMARY KEY,
    tenant_id   TEXT NOT NULL REFERENCES tenants (id),
    environment TEXT,
    user_id     TEXT NOT NULL REFERENCES users (id),
    address     TEXT NOT NULL,
    purpose     TEXT NOT NULL,
    once        TEXT NOT NULL,
    body        TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('queued', 'captured', 'accepted', 'bounced', 'failed')),
    detail      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    state_at    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX notices_once ON notices (tenant_id, user_id, once);

-- What was told of a key, once each: that it expires in 30, 14, 7 and 1 days, is due for rotation, or lies idle.
CREATE TABLE key_notices (
    key_id TEXT NOT NULL REFERENCES keys (id),
    once   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (key_id, once)
) STRICT;

-- Who was asked to join and has not answered. Its link is computed: `generation` counts up with each new mail.
CREATE TABLE invitations (
    user_id    TEXT NOT NULL PRIMARY KEY REFERENCES users (id),
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    generation INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- Telemetry of keys, in tables of its own that the epoch does not see: calls per hour, addresses, the last refusals.
CREATE TABLE key_calls (
    key_id TEXT NOT NULL,
    hour   INTEGER NOT NULL,
    route  TEXT NOT NULL,
    status INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (key_id, hour, route, status)
) STRICT;
CREATE INDEX key_calls_old ON key_calls (hour);
CREATE TABLE key_addresses (
    key_id   TEXT NOT NULL,
    address  TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (key_id, address)
) STRICT;
CREATE INDEX key_addresses_old ON key_addresses (last_at);
-- `was_refused` is 0 for what an allowlist that only observes would have refused.
CREATE TABLE key_refusals (
    key_id      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    request_id  TEXT NOT NULL,
    code        TEXT NOT NULL,
    was_refused INTEGER NOT NULL CHECK (was_refused IN (0, 1)),
    -- A stream that was let in and cut off.
    was_cut     INTEGER NOT NULL DEFAULT 0 CHECK (was_cut IN (0, 1)),
    address     TEXT NOT NULL,
    user_agent  TEXT NOT NULL,
    route       TEXT NOT NULL,
    PRIMARY KEY (key_id, at, request_id, code)
) STRICT;
-- The last request of a key that the gate let through.
CREATE TABLE key_passes (
    key_id     TEXT NOT NULL PRIMARY KEY,
    at         INTEGER NOT NULL,
    address    TEXT NOT NULL,
    route      TEXT NOT NULL,
    request_id TEXT NOT NULL
) STRICT;

-- The server processes: all that a node noted of keys before `written_at` is written.
CREATE TABLE nodes (
    id         TEXT NOT NULL PRIMARY KEY,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    written_at INTEGER NOT NULL
) STRICT;

-- A revocation's receipt. `effective_at` is set when the barrier has passed, so that it is never earlier than what was in
-- flight; complete when each node has written what it held in memory.
CREATE TABLE key_receipts (
    key_id       TEXT NOT NULL PRIMARY KEY REFERENCES keys (id),
    tenant_id    TEXT NOT NULL REFERENCES tenants (id),
    environment  TEXT NOT NULL,
    revoked_at   INTEGER NOT NULL,
    effective_at INTEGER,
    as_of        INTEGER NOT NULL,
    complete     INTEGER NOT NULL CHECK (complete IN (0, 1)),
    body         TEXT NOT NULL
) STRICT;
CREATE INDEX key_receipts_open ON key_receipts (effective_at) WHERE complete = 0;

-- After a compromise: what the key made since then is not sent until somebody has decided about it. One row for the key
-- and one for each key that it made, all with the same root: decisions belong to the root.
CREATE TABLE key_holds (
    key_id      TEXT NOT NULL PRIMARY KEY REFERENCES keys (id),
    root_id     TEXT NOT NULL REFERENCES keys (id),
    tenant_id   TEXT NOT NULL REFERENCES tenants (id),
    environment TEXT NOT NULL,
    since       INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX key_holds_by_root ON key_holds (root_id);
-- `done_at` is NULL while a void waits for its job; `outcome` says what became of it.
CREATE TABLE key_hold_decisions (
    root_id    TEXT NOT NULL REFERENCES keys (id),
    object     TEXT NOT NULL,
    decision   TEXT NOT NULL CHECK (decision IN ('keep', 'void')),
    decided_by TEXT NOT NULL,
    decided_at INTEGER NOT NULL,
    done_at    INTEGER,
    outcome    TEXT,
    PRIMARY KEY (root_id, object)
) STRICT;

-- A right secret in the wrong place: the latest of each kind.
CREATE TABLE key_exposures (
    key_id    TEXT NOT NULL REFERENCES keys (id),
    how       TEXT NOT NULL,
    first_at  INTEGER NOT NULL,
    last_at   INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    address   TEXT NOT NULL,
    told_at   INTEGER,
    mailed_at INTEGER,
    PRIMARY KEY (key_id, how)
) STRICT;

-- The epoch: every change to what the gate reads replaces it, also one written by hand.
CREATE TRIGGER tenants_insert AFTER INSERT ON tenants BEGIN
    INSERT INTO epochs (tenant_id, epoch) VALUES (NEW.id, randomblob(16)) ON CONFLICT (tenant_id) DO UPDATE SET epoch = randomblob(16);
END;
CREATE TRIGGER tenants_update AFTER UPDATE ON tenants BEGIN
    UPDATE epochs SET epoch = randomblob(16) WHERE tenant_id IN (OLD.id, NEW.id);
END;
CREATE TRIGGER tenants_delete AFTER DELETE ON tenants BEGIN
    UPDATE epochs SET epoch = randomblob(16) WHERE tenant_id = OLD.id;
END;
CREATE TRIGGER users_insert AFTER INSERT ON users BEGIN
    UPDATE epochs SET epoch = randomblob(16) WHERE tenant_id = NEW.tenant_id;
END;
CREATE TRIGGER users_update AFTER UPDATE ON users BEGIN
    UPDATE epochs SET epoch = randomblob(16) WHERE tenant_id IN (OLD.tenant_id, NEW.tenant_id);
END;
CREATE TRIGGER users_delete AFTER DELETE ON users BEGIN
    UPDATE epochs SET epoch = randomblob(16) WHERE tenant_id = OLD.tenant_id;
END;
CREATE TRIGGER keys_insert AFTER INSERT ON keys BEGIN
    UPDATE epochs SET epoch = randomblob(16) WHERE tenant_id = NEW.tenant_id;
END;
CREATE TRIGGER keys_update AFTER UPDATE ON keys BEGIN
    UPDATE epochs SET epoch = randomblob(16) WHERE tenant_id IN (OLD.tenant_id, NEW.tenant_id);
END;
CREATE TRIGGER keys_delete AFTER DELETE ON keys BEGIN
    UPDATE epochs SET epoch = randomblob(16) WHERE tenant_id = OLD.tenant_id;
END;
CREATE TRIGGER secrets_insert AFTER INSERT ON secrets BEGIN
    UPDATE epochs SET epoch = randomblob(16) WHERE tenant_id = NEW.tenant_id;
END;
CREATE TRIGGER secrets_update AFTER UPDATE ON secrets BEGIN
    UPDATE epochs SET epoch = randomblob(16) WHERE tenant_id IN (OLD.tenant_id, NEW.tenant_id);
END;
CREATE TRIGGER secrets_delete AFTER DELETE ON secrets BEGIN
    UPDATE epochs SET epoch = randomblob(16) WHERE tenant_id = OLD.tenant_id;
END;
