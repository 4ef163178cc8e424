-- SPDX-License-Identifier: MIT
-- Files of one version that are entries of another (wandb-artifact://ID/PATH): while `artifact_id` has its manifest,
-- a deletion of `target_id` leaves the target's files. Written at commit.
CREATE TABLE artifact_references (
    artifact_id BIGINT NOT NULL REFERENCES artifacts (id),
    target_id   BIGINT NOT NULL REFERENCES artifacts (id),
    PRIMARY KEY (target_id, artifact_id)
);
CREATE INDEX artifact_references_artifact ON artifact_references (artifact_id);
