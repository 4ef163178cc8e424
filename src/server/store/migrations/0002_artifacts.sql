-- SPDX-License-Identifier: MIT
-- Artifacts: types, collections, versions, where they are members, who used them.

CREATE TABLE artifact_types (
    id          @KEY@,
    project_id  BIGINT NOT NULL REFERENCES projects (id),
    name        TEXT NOT NULL,
    description TEXT,
    created_at  BIGINT NOT NULL,
    UNIQUE (project_id, name)
);

-- A sequence holds the versions logged under one name; a portfolio holds links to versions.
CREATE TABLE artifact_collections (
    id          @KEY@,
    project_id  BIGINT NOT NULL REFERENCES projects (id),
    type_id     BIGINT NOT NULL REFERENCES artifact_types (id),
    kind        TEXT NOT NULL DEFAULT 'sequence',   -- sequence, portfolio
    name        TEXT NOT NULL,
    description TEXT,
    state       TEXT NOT NULL DEFAULT 'READY',      -- READY, DELETED
    client_id   TEXT,                               -- the client's own name of the sequence
    next_index  BIGINT NOT NULL DEFAULT 0,
    ttl_s       BIGINT NOT NULL DEFAULT -1,
    digest_algorithm TEXT NOT NULL DEFAULT 'MANIFEST_MD5',
    created_by  BIGINT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    UNIQUE (project_id, name)
);
CREATE INDEX artifact_collections_type ON artifact_collections (type_id);
CREATE INDEX artifact_collections_client ON artifact_collections (client_id);

CREATE TABLE artifact_collection_tags (
    collection_id BIGINT NOT NULL REFERENCES artifact_collections (id),
    name        TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (collection_id, name)
);

-- One version. `version_index` is null until it is committed.
CREATE TABLE artifacts (
    id              @KEY@,
    sequence_id     BIGINT NOT NULL REFERENCES artifact_collections (id),
    type_id         BIGINT NOT NULL REFERENCES artifact_types (id),
    version_index   BIGINT,
    state           TEXT NOT NULL DEFAULT 'PENDING', -- PENDING COMMITTED DELETED
    digest          TEXT NOT NULL,
    digest_algorithm TEXT NOT NULL DEFAULT 'MANIFEST_MD5',
    client_id       TEXT,
    distributed_id  TEXT,
    description     TEXT,
    metadata        TEXT,
    size_bytes      BIGINT NOT NULL DEFAULT 0,
    file_count      BIGINT NOT NULL DEFAULT 0,
    ttl_s           BIGINT NOT NULL DEFAULT -1,      -- -1 inherit, -2 none
    history_step    BIGINT,
    git_commit      TEXT,
    storage_region  TEXT,
    pending_aliases TEXT NOT NULL DEFAULT '[]',      -- applied at commit
    run_id          BIGINT REFERENCES runs (id),     -- logged by
    user_id         BIGINT,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    committed_at    BIGINT,
    UNIQUE (sequence_id, version_index)
);
CREATE INDEX artifacts_digest ON artifacts (sequence_id, digest);
CREATE INDEX artifacts_client ON artifacts (client_id);
CREATE INDEX artifacts_run ON artifacts (run_id);

CREATE TABLE artifact_tags (
    artifact_id BIGINT NOT NULL REFERENCES artifacts (id),
    name        TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (artifact_id, name)
);

-- A version is a member of its own sequence and of every portfolio it is linked into.
CREATE TABLE artifact_memberships (
    id              @KEY@,
    collection_id   BIGINT NOT NULL REFERENCES artifact_collections (id),
    artifact_id     BIGINT NOT NULL REFERENCES artifacts (id),
    version_index   BIGINT NOT NULL,
    user_id         BIGINT,
    created_at      BIGINT NOT NULL,
    UNIQUE (collection_id, artifact_id),
    UNIQUE (collection_id, version_index)
);
CREATE INDEX artifact_memberships_artifact ON artifact_memberships (artifact_id);

CREATE TABLE artifact_aliases (
    id              @KEY@,
    collection_id   BIGINT NOT NULL REFERENCES artifact_collections (id),
    alias           TEXT NOT NULL,
    artifact_id     BIGINT NOT NULL REFERENCES artifacts (id),
    created_at      BIGINT NOT NULL,
    UNIQUE (collection_id, alias)
);
CREATE INDEX artifact_aliases_artifact ON artifact_aliases (artifact_id);

-- kind: FULL, INCREMENTAL, PATCH. `blob` is null until the manifest is uploaded.
CREATE TABLE artifact_manifests (
    id              @KEY@,
    artifact_id     BIGINT NOT NULL REFERENCES artifacts (id),
    name            TEXT NOT NULL,
    kind            TEXT NOT NULL DEFAULT 'FULL',
    base_artifact_id BIGINT,
    digest          TEXT NOT NULL DEFAULT '',
    blob            TEXT,
    size_bytes      BIGINT NOT NULL DEFAULT 0,
    created_at      BIGINT NOT NULL,
    UNIQUE (artifact_id, name)
);

-- The entries of a committed version's manifest, and of uploads on the way.
CREATE TABLE artifact_files (
    artifact_id     BIGINT NOT NULL REFERENCES artifacts (id),
    name            TEXT NOT NULL,
    digest          TEXT NOT NULL,
    size_bytes      BIGINT NOT NULL DEFAULT 0,
    blob            TEXT,
    ref             TEXT,
    birth_artifact_id BIGINT,
    mimetype        TEXT,
    extra           TEXT,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (artifact_id, name)
);
CREATE INDEX artifact_files_blob ON artifact_files (blob);

CREATE TABLE artifact_uses (
    run_id          BIGINT NOT NULL REFERENCES runs (id),
    artifact_id     BIGINT NOT NULL REFERENCES artifacts (id),
    used_as         TEXT,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (run_id, artifact_id)
);
CREATE INDEX artifact_uses_artifact ON artifact_uses (artifact_id);

-- A version can be the output of more runs than the one that made it: same content, logged again.
CREATE TABLE artifact_outputs (
    run_id          BIGINT NOT NULL REFERENCES runs (id),
    artifact_id     BIGINT NOT NULL REFERENCES artifacts (id),
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (run_id, artifact_id)
);
CREATE INDEX artifact_outputs_artifact ON artifact_outputs (artifact_id);

CREATE TABLE upload_parts (
    upload_id       TEXT NOT NULL,
    part_number     BIGINT NOT NULL,
    artifact_id     BIGINT NOT NULL,
    storage_path    TEXT NOT NULL,
    md5             TEXT,
    size_bytes      BIGINT NOT NULL DEFAULT 0,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (upload_id, part_number)
);
