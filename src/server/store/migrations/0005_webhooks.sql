-- SPDX-License-Identifier: MIT
-- Where alerts go (webhook/webhook.h), and each of them on its way there.

DROP INDEX alerts_due;
ALTER TABLE alerts DROP COLUMN delivered_at;
ALTER TABLE alerts DROP COLUMN tries;

-- Both ids null: of all projects. project_id null: of all projects of the entity. `secret` signs, so it
-- is kept as it is.
DROP TABLE webhooks;
CREATE TABLE webhooks (
    id          @KEY@,
    entity_id   BIGINT REFERENCES entities (id),
    project_id  BIGINT REFERENCES projects (id),
    url         TEXT NOT NULL,
    secret      TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);

-- done_at: delivered or given up; `error` is why the last try failed, null after success.
CREATE TABLE webhook_deliveries (
    id          @KEY@,
    webhook_id  BIGINT NOT NULL REFERENCES webhooks (id),
    message_id  TEXT NOT NULL,
    body        TEXT NOT NULL,
    tries       BIGINT NOT NULL DEFAULT 0,
    next_try_at BIGINT NOT NULL,
    done_at     BIGINT,
    error       TEXT,
    created_at  BIGINT NOT NULL
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_try_at) WHERE done_at IS NULL;
CREATE INDEX webhook_deliveries_done ON webhook_deliveries (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id);
