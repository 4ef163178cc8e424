-- SPDX-License-Identifier: MIT
-- Run queues with their agents, and automations: what to do when something happens.

-- template_variables: JSON {"name": {"schema": {...}}}.
CREATE TABLE resource_configs (
    id          @KEY@,
    entity_id   BIGINT NOT NULL REFERENCES entities (id),
    resource    TEXT NOT NULL,
    config      TEXT NOT NULL,
    template_variables TEXT NOT NULL DEFAULT '{}',
    created_at  BIGINT NOT NULL
);

CREATE TABLE run_queues (
    id          @KEY@,
    project_id  BIGINT NOT NULL REFERENCES projects (id),
    name        TEXT NOT NULL,
    access      TEXT NOT NULL DEFAULT 'PROJECT',     -- PROJECT, USER
    prioritization TEXT NOT NULL DEFAULT 'DISABLED', -- DISABLED, V0
    config_id   BIGINT REFERENCES resource_configs (id),
    external_links TEXT,
    user_id     BIGINT,
    created_at  BIGINT NOT NULL,
    UNIQUE (project_id, name)
);

-- state: PENDING LEASED CLAIMED FAILED. A lease that nobody acknowledges runs out.
CREATE TABLE run_queue_items (
    id          @KEY@,
    queue_id    BIGINT NOT NULL REFERENCES run_queues (id),
    state       TEXT NOT NULL DEFAULT 'PENDING',
    run_spec    TEXT NOT NULL,
    priority    BIGINT NOT NULL DEFAULT 2,
    run_name    TEXT,
    agent_id    BIGINT,
    error       TEXT,
    warning     TEXT,
    user_id     BIGINT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX run_queue_items_next ON run_queue_items (queue_id, state, priority, id);

CREATE TABLE launch_agents (
    id          @KEY@,
    project_id  BIGINT NOT NULL REFERENCES projects (id),
    queues      TEXT NOT NULL,                       -- JSON list of ids as clients know them
    hostname    TEXT NOT NULL,
    config      TEXT,
    version     TEXT,
    status      TEXT NOT NULL DEFAULT 'POLLING',
    user_id     BIGINT,
    created_at  BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL
);

-- Where automations' webhooks go.
CREATE TABLE integrations (
    id          @KEY@,
    entity_id   BIGINT NOT NULL REFERENCES entities (id),
    name        TEXT NOT NULL,
    url         TEXT NOT NULL,
    secret_ref  TEXT,
    token_ref   TEXT,
    created_at  BIGINT NOT NULL,
    UNIQUE (entity_id, name)
);

-- scope: ENTITY, PROJECT, ARTIFACT_COLLECTION; scope_id is a row of that table. `entity_id` is who owns it.
CREATE TABLE triggers (
    id          @KEY@,
    entity_id   BIGINT NOT NULL REFERENCES entities (id),
    project_id  BIGINT,
    name        TEXT NOT NULL,
    description TEXT,
    enabled     BIGINT NOT NULL DEFAULT 1,
    scope       TEXT NOT NULL,
    scope_id    BIGINT NOT NULL,
    event       TEXT NOT NULL,
    filter      TEXT NOT NULL,
    action      TEXT NOT NULL,
    action_config TEXT NOT NULL,
    user_id     BIGINT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT,
    UNIQUE (entity_id, name)
);
CREATE INDEX triggers_project ON triggers (project_id);
