-- The first schema. Times are UTC milliseconds; text is COLLATE "C", JSON is text.
-- Columns hold what is searched, joined or guarded; `body` holds the rest of a noun as JSON.

CREATE TABLE tenants (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    tier       TEXT COLLATE "C" NOT NULL CHECK (tier IN ('free', 'standard', 'enterprise')),
    status     TEXT COLLATE "C" NOT NULL CHECK (status IN ('active', 'suspended')),
    allowlist  TEXT COLLATE "C" NOT NULL,
    allowlist_mode TEXT COLLATE "C" NOT NULL DEFAULT 'enforce' CHECK (allowlist_mode IN ('enforce', 'observe')),
    policies   TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    version    BIGINT NOT NULL
);

CREATE TABLE users (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id     TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    email         TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    role          TEXT COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'user', 'viewer')),
    status        TEXT COLLATE "C" NOT NULL CHECK (status IN ('invited', 'active', 'suspended', 'removed')),
    password_hash TEXT COLLATE "C",
    created_at    BIGINT NOT NULL,
    version       BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_by_email ON users (tenant_id, email) WHERE status <> 'removed';
CREATE UNIQUE INDEX users_owner ON users (tenant_id) WHERE role = 'owner';

CREATE TABLE keys (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id        TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    environment      TEXT COLLATE "C" NOT NULL CHECK (environment IN ('development', 'staging', 'production')),
    label            TEXT COLLATE "C" NOT NULL,
    status           TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'active', 'suspended', 'revoked', 'expired')),
    status_at        BIGINT NOT NULL,
    reason           TEXT COLLATE "C",
    administrator_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    created_by       TEXT COLLATE "C" NOT NULL,
    parent_key_id    TEXT COLLATE "C",
    scopes           TEXT COLLATE "C" NOT NULL,
    allowlist        TEXT COLLATE "C" NOT NULL,
    allowlist_mode TEXT COLLATE "C" NOT NULL DEFAULT 'enforce' CHECK (allowlist_mode IN ('enforce', 'observe')),
    expires_at       BIGINT,
    note             TEXT COLLATE "C" NOT NULL,
    tags             TEXT COLLATE "C" NOT NULL,
    created_at       BIGINT NOT NULL,
    version          BIGINT NOT NULL
);
CREATE INDEX keys_by_tenant ON keys (tenant_id, environment, id);
CREATE INDEX keys_expiring ON keys (expires_at) WHERE expires_at IS NOT NULL AND status IN ('pending', 'active', 'suspended');
CREATE INDEX keys_by_administrator ON keys (administrator_id);

-- A key's secrets: SHA-256 of the whole text, never the text. Digests of dead ones are kept, so that who presents
-- the right one is told what became of it.
CREATE TABLE secrets (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    key_id     TEXT COLLATE "C" NOT NULL REFERENCES keys (id),
    tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    digest     BYTEA NOT NULL,
    last4      TEXT COLLATE "C" NOT NULL,
    status     TEXT COLLATE "C" NOT NULL CHECK (status IN ('current', 'pending', 'ending', 'dead')),
    created_at BIGINT NOT NULL,
    ends_at    BIGINT,
    -- Of a pending one, for its first use: how long the old one lives on, or how long it has to be silent to end.
    grace_ms   BIGINT,
    silent_ms  BIGINT,
    -- Of one that a rotation made, when it was first used: since then the old one ends.
    first_used_at BIGINT
);
CREATE INDEX secrets_by_key ON secrets (key_id);
-- For reports of leaks, which may name a secret by its digest alone.
CREATE INDEX secrets_by_digest ON secrets (digest);
CREATE INDEX secrets_second ON secrets (key_id) WHERE status IN ('pending', 'ending');

-- Last use: telemetry, in a table of its own that the epoch does not see.
CREATE TABLE key_uses (
    secret_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES secrets (id),
    key_id     TEXT COLLATE "C" NOT NULL,
    at         BIGINT NOT NULL,
    address    TEXT COLLATE "C" NOT NULL,
    user_agent TEXT COLLATE "C" NOT NULL,
    route      TEXT COLLATE "C" NOT NULL
);
CREATE INDEX key_uses_by_key ON key_uses (key_id);

-- One random id a tenant, replaced in the transaction of every change to what the gate reads (see the triggers below).
CREATE TABLE epochs (
    tenant_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    epoch     BYTEA NOT NULL
);

CREATE TABLE audit (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id   TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    environment TEXT COLLATE "C",
    seq         BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    actor       TEXT COLLATE "C" NOT NULL,
    -- The user's, key's or recipient's id, or `operator` or `system`.
    actor_id    TEXT COLLATE "C" NOT NULL GENERATED ALWAYS AS (coalesce(actor::json ->> 'id', actor::json ->> 'type')) STORED,
    action      TEXT COLLATE "C" NOT NULL,
    object      TEXT COLLATE "C" NOT NULL,
    address     TEXT COLLATE "C",
    request_id  TEXT COLLATE "C",
    before      TEXT COLLATE "C",
    after       TEXT COLLATE "C",
    hash        BYTEA NOT NULL
);
CREATE UNIQUE INDEX audit_by_seq ON audit (tenant_id, seq);
CREATE INDEX audit_by_object ON audit (tenant_id, object, seq);
CREATE INDEX audit_by_actor ON audit (tenant_id, actor_id, at);

-- The dense numbers: `name` is 'audit' (environment '') or 'events'. Its row lock is the last that a transaction takes.
CREATE TABLE counters (
    tenant_id   TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    seq         BIGINT NOT NULL,
    hash        BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, environment, name)
);

CREATE TABLE events (
    tenant_id    TEXT COLLATE "C" NOT NULL,
    environment  TEXT COLLATE "C" NOT NULL,
    seq          BIGINT NOT NULL,
    id           TEXT COLLATE "C" NOT NULL,
    type         TEXT COLLATE "C" NOT NULL,
    envelope_id  TEXT COLLATE "C",
    envelope_seq BIGINT,
    object_id    TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    body         TEXT COLLATE "C" NOT NULL,
    salts        TEXT COLLATE "C" NOT NULL,
    hash         BYTEA,
    PRIMARY KEY (tenant_id, environment, seq)
);
CREATE UNIQUE INDEX events_by_envelope ON events (envelope_id, envelope_seq) WHERE envelope_id IS NOT NULL;

CREATE TABLE documents (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id   TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    environment TEXT COLLATE "C" NOT NULL,
    filename    TEXT COLLATE "C" NOT NULL,
    size        BIGINT NOT NULL,
    sha256      TEXT COLLATE "C" NOT NULL,
    working     TEXT COLLATE "C" NOT NULL,
    body        TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX documents_by_tenant ON documents (tenant_id, environment, id);
-- For the sweep of files that no row names.
CREATE INDEX documents_by_sha256 ON documents (tenant_id, environment, sha256);
CREATE INDEX documents_by_working ON documents (tenant_id, environment, working);

CREATE TABLE templates (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id   TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    environment TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    latest      BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    version     BIGINT NOT NULL
);
CREATE INDEX templates_by_tenant ON templates (tenant_id, environment, id);

-- Immutable: an envelope and a batch pin one.
CREATE TABLE template_versions (
    template_id TEXT COLLATE "C" NOT NULL REFERENCES templates (id),
    number      BIGINT NOT NULL,
    body        TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (template_id, number)
);

CREATE TABLE batches (
    id                   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id            TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    environment          TEXT COLLATE "C" NOT NULL,
    name                 TEXT COLLATE "C" NOT NULL,
    status               TEXT COLLATE "C" NOT NULL CHECK (status IN ('open', 'ready', 'running', 'paused', 'completed', 'cancelled')),
    status_at            BIGINT NOT NULL,
    template_id          TEXT COLLATE "C" NOT NULL REFERENCES templates (id),
    template_version     BIGINT NOT NULL,
    on_invalid           TEXT COLLATE "C" NOT NULL CHECK (on_invalid IN ('reject', 'skip')),
    send_rate_per_minute BIGINT,
    key_id               TEXT COLLATE "C",
    rows_generation      BIGINT NOT NULL,
    total                BIGINT NOT NULL,
    valid                BIGINT NOT NULL,
    invalid              BIGINT NOT NULL,
    puts                 BIGINT NOT NULL,
    next_row             BIGINT NOT NULL,
    failed               BIGINT NOT NULL,
    problem              TEXT COLLATE "C",
    body                 TEXT COLLATE "C" NOT NULL,
    created_by           TEXT COLLATE "C" NOT NULL,
    created_at           BIGINT NOT NULL,
    version              BIGINT NOT NULL
);
CREATE INDEX batches_by_tenant ON batches (tenant_id, environment, id);

-- A put writes a generation of its own; it takes effect only when complete (`batches.rows_generation`).
CREATE TABLE batch_rows (
    batch_id    TEXT COLLATE "C" NOT NULL REFERENCES batches (id),
    generation  BIGINT NOT NULL,
    number      BIGINT NOT NULL,
    line        BIGINT NOT NULL,
    external_id TEXT COLLATE "C",
    status      TEXT COLLATE "C" NOT NULL CHECK (status IN ('valid', 'invalid', 'failed')),
    body        TEXT COLLATE "C" NOT NULL,
    errors      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (batch_id, generation, number)
);
CREATE INDEX batch_rows_by_external_id ON batch_rows (batch_id, generation, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX batch_rows_at_fault ON batch_rows (batch_id, generation, number) WHERE status <> 'valid';

CREATE TABLE envelopes (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id        TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    environment      TEXT COLLATE "C" NOT NULL,
    external_id      TEXT COLLATE "C",
    allow_duplicate  BOOLEAN NOT NULL,
    title            TEXT COLLATE "C" NOT NULL,
    status           TEXT COLLATE "C" NOT NULL CHECK (status IN ('draft', 'sent', 'sealing', 'completed', 'declined', 'voided', 'expired')),
    status_at        BIGINT NOT NULL,
    template_id      TEXT COLLATE "C",
    template_version BIGINT,
    batch_id         TEXT COLLATE "C",
    batch_row        BIGINT,
    expires_at       BIGINT,
    "values"         TEXT COLLATE "C" NOT NULL,
    body             TEXT COLLATE "C" NOT NULL,
    problem          TEXT COLLATE "C",
    last_event_id    TEXT COLLATE "C",
    last_event_seq   BIGINT,
    envelope_seq     BIGINT NOT NULL,
    chain            BYTEA NOT NULL,
    created_by       TEXT COLLATE "C" NOT NULL,
    created_at       BIGINT NOT NULL,
    version          BIGINT NOT NULL
);
CREATE INDEX envelopes_by_tenant ON envelopes (tenant_id, environment, id);
CREATE INDEX envelopes_by_status ON envelopes (tenant_id, environment, status, id);
CREATE UNIQUE INDEX envelopes_by_external_id ON envelopes (tenant_id, environment, external_id)
    WHERE external_id IS NOT NULL AND NOT allow_duplicate;
CREATE UNIQUE INDEX envelopes_by_batch ON envelopes (batch_id, batch_row) WHERE batch_id IS NOT NULL;
CREATE INDEX envelopes_expiring ON envelopes (expires_at) WHERE status = 'sent' AND expires_at IS NOT NULL;

CREATE TABLE recipients (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id       TEXT COLLATE "C" NOT NULL,
    environment     TEXT COLLATE "C" NOT NULL,
    envelope_id     TEXT COLLATE "C" NOT NULL REFERENCES envelopes (id),
    position        BIGINT NOT NULL,
    kind            TEXT COLLATE "C" NOT NULL CHECK (kind IN ('signer', 'approver', 'copy')),
    role            TEXT COLLATE "C" NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    email           TEXT COLLATE "C" NOT NULL,
    turn            BIGINT NOT NULL,
    status          TEXT COLLATE "C" NOT NULL CHECK (status IN ('waiting', 'notified', 'viewed', 'completed', 'declined', 'replaced', 'voided', 'expired')),
    status_at       BIGINT NOT NULL,
    link_id         TEXT COLLATE "C" NOT NULL,
    link_generation BIGINT NOT NULL,
    body            TEXT COLLATE "C" NOT NULL,
    version         BIGINT NOT NULL
);
CREATE UNIQUE INDEX recipients_by_envelope ON recipients (envelope_id, position);
CREATE UNIQUE INDEX recipients_by_link ON recipients (link_id);

-- A recipient's session in the signing room: bound to the link and its generation, the token stored as SHA-256.
CREATE TABLE room_sessions (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    recipient_id TEXT COLLATE "C" NOT NULL REFERENCES recipients (id),
    generation   BIGINT NOT NULL,
    digest       BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX room_sessions_by_recipient ON room_sessions (recipient_id);

CREATE TABLE assets (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id    TEXT COLLATE "C" NOT NULL,
    environment  TEXT COLLATE "C" NOT NULL,
    envelope_id  TEXT COLLATE "C" NOT NULL REFERENCES envelopes (id),
    position     BIGINT NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL CHECK (kind IN ('document', 'combined', 'certificate', 'audit')),
    document_id  TEXT COLLATE "C",
    filename     TEXT COLLATE "C" NOT NULL,
    content_type TEXT COLLATE "C" NOT NULL,
    size         BIGINT NOT NULL,
    sha256       TEXT COLLATE "C" NOT NULL,
    seal         TEXT COLLATE "C",
    created_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX assets_by_envelope ON assets (envelope_id, position);
CREATE INDEX assets_by_sha256 ON assets (tenant_id, environment, sha256);

-- The outbox: one row per envelope, address, purpose and order step.
CREATE TABLE mails (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id    TEXT COLLATE "C" NOT NULL,
    environment  TEXT COLLATE "C" NOT NULL,
    envelope_id  TEXT COLLATE "C" NOT NULL REFERENCES envelopes (id),
    recipient_id TEXT COLLATE "C" NOT NULL REFERENCES recipients (id),
    purpose      TEXT COLLATE "C" NOT NULL CHECK (purpose IN ('invite', 'completed', 'declined', 'voided', 'expired')),
    turn         BIGINT NOT NULL,
    address      TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL CHECK (state IN ('queued', 'captured', 'accepted', 'bounced', 'failed')),
    detail       TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    state_at     BIGINT NOT NULL
);
CREATE UNIQUE INDEX mails_once ON mails (envelope_id, address, purpose, turn);
CREATE INDEX mails_by_tenant ON mails (tenant_id, environment, id);

-- A lease is a run_at in the future: who took the job last holds the highest `attempts`.
CREATE TABLE jobs (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id   TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    object      TEXT COLLATE "C" NOT NULL,
    body        TEXT COLLATE "C" NOT NULL,
    status      TEXT COLLATE "C" NOT NULL CHECK (status IN ('ready', 'parked')),
    run_at      BIGINT NOT NULL,
    attempts    BIGINT NOT NULL,
    error       TEXT COLLATE "C",
    created_at  BIGINT NOT NULL
);
CREATE INDEX jobs_due ON jobs (kind, run_at) WHERE status = 'ready';
CREATE INDEX jobs_by_tenant ON jobs (kind, tenant_id, run_at) WHERE status = 'ready';
CREATE UNIQUE INDEX jobs_once ON jobs (kind, object);

-- What the whole installation agreed on once.
CREATE TABLE settings (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE idempotency (
    tenant_id   TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    caller      TEXT COLLATE "C" NOT NULL,
    route       TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    digest      BYTEA,
    lease       TEXT COLLATE "C" NOT NULL,
    lease_until BIGINT NOT NULL,
    status      BIGINT,
    body        TEXT COLLATE "C",
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, environment, caller, route, key)
);
CREATE INDEX idempotency_old ON idempotency (created_at);

-- Mails to users: invitations, keys that end, secrets in the wrong place. `once` says what a mail is about, so that
-- nobody is told twice.
CREATE TABLE notices (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id   TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    environment TEXT COLLATE "C",
    user_id     TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    address     TEXT COLLATE "C" NOT NULL,
    purpose     TEXT COLLATE "C" NOT NULL,
    once        TEXT COLLATE "C" NOT NULL,
    body        TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('queued', 'captured', 'accepted', 'bounced', 'failed')),
    detail      TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    state_at    BIGINT NOT NULL
);
CREATE UNIQUE INDEX notices_once ON notices (tenant_id, user_id, once);

-- What was told of a key, once each: that it expires in 30, 14, 7 and 1 days, is due for rotation, or lies idle.
CREATE TABLE key_notices (
    key_id TEXT NOT NULL REFERENCES keys (id),
    once   TEXT NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (key_id, once)
);

-- Who was asked to join and has not answered. Its link is computed: `generation` counts up with each new mail.
CREATE TABLE invitations (
    user_id    TEXT NOT NULL PRIMARY KEY REFERENCES users (id),
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    generation BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Telemetry of keys, in tables of its own that the epoch does not see: calls per hour, addresses, the last refusals.
CREATE TABLE key_calls (
    key_id TEXT COLLATE "C" NOT NULL,
    hour   BIGINT NOT NULL,
    route  TEXT COLLATE "C" NOT NULL,
    status BIGINT NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (key_id, hour, route, status)
);
CREATE INDEX key_calls_old ON key_calls (hour);
CREATE TABLE key_addresses (
    key_id   TEXT COLLATE "C" NOT NULL,
    address  TEXT COLLATE "C" NOT NULL,
    first_at BIGINT NOT NULL,
    last_at  BIGINT NOT NULL,
    count    BIGINT NOT NULL,
    PRIMARY KEY (key_id, address)
);
CREATE INDEX key_addresses_old ON key_addresses (last_at);
-- `was_refused` is false for what an allowlist that only observes would have refused.
CREATE TABLE key_refusals (
    key_id      TEXT COLLATE "C" NOT NULL,
    at          BIGINT NOT NULL,
    request_id  TEXT COLLATE "C" NOT NULL,
    code        TEXT COLLATE "C" NOT NULL,
    was_refused BOOLEAN NOT NULL,
    -- A stream that was let in and cut off.
    was_cut     BOOLEAN NOT NULL DEFAULT false,
    address     TEXT COLLATE "C" NOT NULL,
    user_agent  TEXT COLLATE "C" NOT NULL,
    route       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (key_id, at, request_id, code)
);
-- The last request of a key that the gate let through.
CREATE TABLE key_passes (
    key_id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at         BIGINT NOT NULL,
    address    TEXT COLLATE "C" NOT NULL,
    route      TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL
);

-- The server processes: all that a node noted of keys before `written_at` is written.
CREATE TABLE nodes (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    started_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    written_at BIGINT NOT NULL
);

-- A revocation's receipt. `effective_at` is set when the barrier has passed, so that it is never earlier than what was in
-- flight; complete when each node has written what it held in memory.
CREATE TABLE key_receipts (
    key_id       TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES keys (id),
    tenant_id    TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    environment  TEXT COLLATE "C" NOT NULL,
    revoked_at   BIGINT NOT NULL,
    effective_at BIGINT,
    as_of        BIGINT NOT NULL,
    complete     BOOLEAN NOT NULL,
    body         TEXT COLLATE "C" NOT NULL
);
CREATE INDEX key_receipts_open ON key_receipts (effective_at) WHERE NOT complete;

-- After a compromise: what the key made since then is not sent until somebody has decided about it. One row for the key
-- and one for each key that it made, all with the same root: decisions belong to the root.
CREATE TABLE key_holds (
    key_id      TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES keys (id),
    root_id     TEXT COLLATE "C" NOT NULL REFERENCES keys (id),
    tenant_id   TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    environment TEXT COLLATE "C" NOT NULL,
    since       BIGINT NOT NULL,
    created_by  TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX key_holds_by_root ON key_holds (root_id);
-- `done_at` is NULL while a void waits for its job; `outcome` says what became of it.
CREATE TABLE key_hold_decisions (
    root_id    TEXT COLLATE "C" NOT NULL REFERENCES keys (id),
    object     TEXT COLLATE "C" NOT NULL,
    decision   TEXT COLLATE "C" NOT NULL CHECK (decision IN ('keep', 'void')),
    decided_by TEXT COLLATE "C" NOT NULL,
    decided_at BIGINT NOT NULL,
    done_at    BIGINT,
    outcome    TEXT COLLATE "C",
    PRIMARY KEY (root_id, object)
);

-- A right secret in the wrong place: the latest of each kind.
CREATE TABLE key_exposures (
    key_id    TEXT COLLATE "C" NOT NULL REFERENCES keys (id),
    how       TEXT COLLATE "C" NOT NULL,
    first_at  BIGINT NOT NULL,
    last_at   BIGINT NOT NULL,
    count     BIGINT NOT NULL,
    address   TEXT COLLATE "C" NOT NULL,
    told_at   BIGINT,
    mailed_at BIGINT,
    PRIMARY KEY (key_id, how)
);

-- The epoch: every change to what the gate reads replaces it, also one written by hand or replicated (ENABLE ALWAYS).
CREATE FUNCTION epoch_of_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO epochs (tenant_id, epoch) VALUES (NEW.id, uuid_send(gen_random_uuid()))
        ON CONFLICT (tenant_id) DO UPDATE SET epoch = uuid_send(gen_random_uuid());
    ELSE
        UPDATE epochs SET epoch = uuid_send(gen_random_uuid()) WHERE tenant_id = OLD.id;
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION epoch_of_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        UPDATE epochs SET epoch = uuid_send(gen_random_uuid()) WHERE tenant_id = NEW.tenant_id;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        UPDATE epochs SET epoch = uuid_send(gen_random_uuid()) WHERE tenant_id = OLD.tenant_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION epoch_of_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE epochs SET epoch = uuid_send(gen_random_uuid());
    RETURN NULL;
END
$$;
CREATE TRIGGER tenants_epoch AFTER INSERT OR UPDATE OR DELETE ON tenants FOR EACH ROW EXECUTE FUNCTION epoch_of_tenant();
CREATE TRIGGER tenants_truncated AFTER TRUNCATE ON tenants FOR EACH STATEMENT EXECUTE FUNCTION epoch_of_all();
ALTER TABLE tenants ENABLE ALWAYS TRIGGER tenants_epoch;
ALTER TABLE tenants ENABLE ALWAYS TRIGGER tenants_truncated;
CREATE TRIGGER users_epoch AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION epoch_of_row();
CREATE TRIGGER users_truncated AFTER TRUNCATE ON users FOR EACH STATEMENT EXECUTE FUNCTION epoch_of_all();
ALTER TABLE users ENABLE ALWAYS TRIGGER users_epoch;
ALTER TABLE users ENABLE ALWAYS TRIGGER users_truncated;
CREATE TRIGGER keys_epoch AFTER INSERT OR UPDATE OR DELETE ON keys FOR EACH ROW EXECUTE FUNCTION epoch_of_row();
CREATE TRIGGER keys_truncated AFTER TRUNCATE ON keys FOR EACH STATEMENT EXECUTE FUNCTION epoch_of_all();
ALTER TABLE keys ENABLE ALWAYS TRIGGER keys_epoch;
ALTER TABLE keys ENABLE ALWAYS TRIGGER keys_truncated;
CREATE TRIGGER secrets_epoch AFTER INSERT OR UPDATE OR DELETE ON secrets FOR EACH ROW EXECUTE FUNCTION epoch_of_row();
CREATE TRIGGER secrets_truncated AFTER TRUNCATE ON secrets FOR EACH STATEMENT EXECUTE FUNCTION epoch_of_all();
ALTER TABLE secrets ENABLE ALWAYS TRIGGER secrets_epoch;
ALTER TABLE secrets ENABLE ALWAYS TRIGGER secrets_truncated;
