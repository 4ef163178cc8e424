-- SPDX-License-Identifier: MIT
-- People, places and runs.
--
-- One text for both engines. Rules for every migration:
--   @KEY@        the integer primary key that numbers itself
--   BIGINT       every other integer, reference, flag (0/1) and time (microseconds since 1970, UTC)
--   TEXT         text and JSON; JSON is kept as it came (NaN and Infinity tokens included)
--   BYTEA        bytes
--   DOUBLE PRECISION  numbers
-- A statement ends with a semicolon at the end of a line. Migrations only go forward: never edit one
-- that has been released, add the next number.

CREATE TABLE users (
    id          @KEY@,
    username    TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL DEFAULT '',
    email       TEXT,
    photo_url   TEXT,
    admin       BIGINT NOT NULL DEFAULT 0,
    service     BIGINT NOT NULL DEFAULT 0,      -- a service account, member of one team
    flags       TEXT NOT NULL DEFAULT '{}',
    settings    TEXT NOT NULL DEFAULT '{}',
    entity_id   BIGINT,                         -- the default entity
    created_at  BIGINT NOT NULL,
    deleted_at  BIGINT
);
CREATE INDEX users_email ON users (email);

-- Keys are never stored: `hash` is the SHA-256 of the whole key in lower-case hex, `hint` its beginning.
CREATE TABLE api_keys (
    id          @KEY@,
    user_id     BIGINT NOT NULL REFERENCES users (id),
    hash        TEXT NOT NULL UNIQUE,
    hint        TEXT NOT NULL DEFAULT '',
    name        TEXT NOT NULL DEFAULT '',
    description TEXT,
    created_at  BIGINT NOT NULL,
    used_at     BIGINT,
    revoked_at  BIGINT
);
CREATE INDEX api_keys_user ON api_keys (user_id);

CREATE TABLE organizations (
    id          @KEY@,
    name        TEXT NOT NULL UNIQUE,
    entity_id   BIGINT,                         -- the entity that holds its registries
    settings    TEXT NOT NULL DEFAULT '{}',
    created_at  BIGINT NOT NULL,
    deleted_at  BIGINT
);

-- An entity owns projects: a user's own, a team's, or an organization's.
CREATE TABLE entities (
    id              @KEY@,
    name            TEXT NOT NULL UNIQUE,
    kind            TEXT NOT NULL DEFAULT 'user',    -- user, team, org
    user_id         BIGINT REFERENCES users (id),    -- of kind user
    organization_id BIGINT REFERENCES organizations (id),
    photo_url       TEXT,
    settings        TEXT NOT NULL DEFAULT '{}',
    created_at      BIGINT NOT NULL,
    deleted_at      BIGINT
);
CREATE INDEX entities_user ON entities (user_id);
CREATE INDEX entities_organization ON entities (organization_id);

CREATE TABLE team_members (
    entity_id   BIGINT NOT NULL REFERENCES entities (id),
    user_id     BIGINT NOT NULL REFERENCES users (id),
    role        TEXT NOT NULL DEFAULT 'member',      -- admin, member, viewer
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (entity_id, user_id)
);
CREATE INDEX team_members_user ON team_members (user_id);

CREATE TABLE organization_members (
    organization_id BIGINT NOT NULL REFERENCES organizations (id),
    user_id         BIGINT NOT NULL REFERENCES users (id),
    role            TEXT NOT NULL DEFAULT 'member',
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX organization_members_user ON organization_members (user_id);

CREATE TABLE invites (
    id          @KEY@,
    entity_id   BIGINT NOT NULL REFERENCES entities (id),
    email       TEXT,
    user_id     BIGINT REFERENCES users (id),
    admin       BIGINT NOT NULL DEFAULT 0,
    created_by  BIGINT,
    created_at  BIGINT NOT NULL,
    UNIQUE (entity_id, email)
);

-- access: private (members of the entity), restricted (project_members only), read (all users of the
-- server may read), open (all may read and write).
CREATE TABLE projects (
    id              @KEY@,
    entity_id       BIGINT NOT NULL REFERENCES entities (id),
    name            TEXT NOT NULL,
    access          TEXT NOT NULL DEFAULT 'private',
    kind            TEXT NOT NULL DEFAULT 'project', -- project, registry
    description     TEXT,
    views           TEXT,
    settings        TEXT NOT NULL DEFAULT '{}',
    is_benchmark    BIGINT NOT NULL DEFAULT 0,
    all_types       BIGINT NOT NULL DEFAULT 1,       -- a registry: every artifact type may enter
    user_id         BIGINT,                          -- who made it
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    deleted_at      BIGINT,
    UNIQUE (entity_id, name)
);

CREATE TABLE project_members (
    project_id  BIGINT NOT NULL REFERENCES projects (id),
    user_id     BIGINT NOT NULL REFERENCES users (id),
    role        TEXT NOT NULL DEFAULT 'member',
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (project_id, user_id)
);
CREATE TABLE project_teams (
    project_id  BIGINT NOT NULL REFERENCES projects (id),
    entity_id   BIGINT NOT NULL REFERENCES entities (id),
    role        TEXT NOT NULL DEFAULT 'member',
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (project_id, entity_id)
);

CREATE TABLE sweeps (
    id              @KEY@,
    project_id      BIGINT NOT NULL REFERENCES projects (id),
    name            TEXT NOT NULL,                   -- the short id
    display_name    TEXT,
    description     TEXT,
    config          TEXT NOT NULL,                   -- YAML as it came
    config_json     TEXT NOT NULL DEFAULT '{}',      -- the same, parsed
    method          TEXT NOT NULL DEFAULT 'grid',
    state           TEXT NOT NULL DEFAULT 'PENDING',
    controller      TEXT,
    scheduler       TEXT,
    template_values TEXT,
    prior_filters   TEXT,
    cursor          BIGINT NOT NULL DEFAULT 0,       -- how many points of the grid were given out
    seed            BIGINT NOT NULL DEFAULT 0,
    best_loss       DOUBLE PRECISION,
    user_id         BIGINT,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    heartbeat_at    BIGINT,
    deleted_at      BIGINT,
    UNIQUE (project_id, name)
);

CREATE TABLE agents (
    id              @KEY@,
    sweep_id        BIGINT NOT NULL REFERENCES sweeps (id),
    name            TEXT NOT NULL,
    host            TEXT NOT NULL DEFAULT '',
    state           TEXT NOT NULL DEFAULT 'RUNNING',
    metrics         TEXT,
    run_state       TEXT,
    commands        TEXT NOT NULL DEFAULT '[]',      -- given out, not yet seen as running
    total_runs      BIGINT NOT NULL DEFAULT 0,
    created_at      BIGINT NOT NULL,
    heartbeat_at    BIGINT NOT NULL
);
CREATE INDEX agents_sweep ON agents (sweep_id);

-- One run. The counters from history_lines on belong to store/history and ingest/filestream: nobody
-- else writes them.
CREATE TABLE runs (
    id              @KEY@,
    project_id      BIGINT NOT NULL REFERENCES projects (id),
    name            TEXT NOT NULL,                   -- the run id that clients choose
    display_name    TEXT,
    state           TEXT NOT NULL DEFAULT 'running', -- running finished failed crashed killed pending preempting preempted
    user_id         BIGINT,
    group_name      TEXT,
    job_type        TEXT,
    sweep_id        BIGINT REFERENCES sweeps (id),
    agent_id        BIGINT,
    description     TEXT,
    notes           TEXT,
    tags            TEXT NOT NULL DEFAULT '[]',      -- JSON list of strings
    config          TEXT NOT NULL DEFAULT '{}',
    summary         TEXT NOT NULL DEFAULT '{}',
    system_metrics  TEXT,
    host            TEXT,
    program         TEXT,
    repo            TEXT,
    git_commit      TEXT,
    debug           BIGINT NOT NULL DEFAULT 0,
    parent_run_id   BIGINT,                          -- forked from
    parent_step     BIGINT,
    exitcode        BIGINT,
    stop_requested  BIGINT NOT NULL DEFAULT 0,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    started_at      BIGINT,
    finished_at     BIGINT,
    heartbeat_at    BIGINT NOT NULL,
    deleted_at      BIGINT,
    history_lines   BIGINT NOT NULL DEFAULT 0,       -- one past the last line number
    events_lines    BIGINT NOT NULL DEFAULT 0,
    log_lines       BIGINT NOT NULL DEFAULT 0,
    last_step       BIGINT NOT NULL DEFAULT -1,
    tail_segments   BIGINT NOT NULL DEFAULT 0,       -- row-tail segments not yet merged
    tail_lines      BIGINT NOT NULL DEFAULT 0,
    stored_bytes    BIGINT NOT NULL DEFAULT 0,       -- history, events and log as stored
    UNIQUE (project_id, name)
);
CREATE INDEX runs_project_created ON runs (project_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX runs_sweep ON runs (sweep_id);
CREATE INDEX runs_live ON runs (state, heartbeat_at);
CREATE INDEX runs_tail ON runs (tail_segments) WHERE tail_segments > 0;

-- The files of a run (not artifacts). `blob` names the content in the blob store.
CREATE TABLE files (
    id          @KEY@,
    run_id      BIGINT NOT NULL REFERENCES runs (id),
    name        TEXT NOT NULL,
    size_bytes  BIGINT NOT NULL DEFAULT 0,
    md5         TEXT,                                -- base64, as clients write it
    blob        TEXT,
    mimetype    TEXT,
    uploaded    BIGINT NOT NULL DEFAULT 0,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    UNIQUE (run_id, name)
);

-- Content-addressed blobs that are complete. `name` is the lower-case hex SHA-256 or MD5 with a prefix,
-- as store/blob.h says.
CREATE TABLE blobs (
    name        TEXT PRIMARY KEY,
    size_bytes  BIGINT NOT NULL,
    md5         TEXT,
    created_at  BIGINT NOT NULL
);
CREATE INDEX blobs_md5 ON blobs (md5);

CREATE TABLE alerts (
    id          @KEY@,
    run_id      BIGINT NOT NULL REFERENCES runs (id),
    title       TEXT NOT NULL,
    text        TEXT NOT NULL DEFAULT '',
    severity    TEXT NOT NULL DEFAULT 'INFO',
    wait_ms     BIGINT NOT NULL DEFAULT 0,
    created_at  BIGINT NOT NULL,
    delivered_at BIGINT,
    tries       BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX alerts_run ON alerts (run_id, created_at);
CREATE INDEX alerts_due ON alerts (id) WHERE delivered_at IS NULL;

-- Reports and workspaces: kept and given back.
CREATE TABLE views (
    id          @KEY@,
    project_id  BIGINT NOT NULL REFERENCES projects (id),
    type        TEXT NOT NULL,
    name        TEXT NOT NULL,
    display_name TEXT,
    description TEXT,
    spec        TEXT NOT NULL DEFAULT '{}',
    preview_url TEXT,
    user_id     BIGINT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    UNIQUE (project_id, type, name)
);

CREATE TABLE charts (
    id          @KEY@,
    entity_id   BIGINT NOT NULL REFERENCES entities (id),
    name        TEXT NOT NULL,
    display_name TEXT,
    type        TEXT NOT NULL,
    access      TEXT NOT NULL,
    spec        TEXT NOT NULL,
    user_id     BIGINT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    UNIQUE (entity_id, name)
);

CREATE TABLE webhooks (
    id          @KEY@,
    entity_id   BIGINT NOT NULL REFERENCES entities (id),
    name        TEXT NOT NULL,
    url         TEXT NOT NULL,
    secret      TEXT,
    events      TEXT NOT NULL DEFAULT '["alert"]',
    created_at  BIGINT NOT NULL,
    UNIQUE (entity_id, name)
);

-- Settings of the whole server: name to JSON.
CREATE TABLE settings (
    name        TEXT PRIMARY KEY,
    value       TEXT NOT NULL,
    updated_at  BIGINT NOT NULL
);
