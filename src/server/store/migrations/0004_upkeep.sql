-- SPDX-License-Identifier: MIT
-- What the janitor looks for: deleted runs that still take room, and whether anything refers to a blob.

CREATE INDEX runs_deleted ON runs (deleted_at) WHERE deleted_at IS NOT NULL AND stored_bytes >= 0;
CREATE INDEX files_blob ON files (blob);
CREATE INDEX artifact_manifests_blob ON artifact_manifests (blob);
CREATE INDEX upload_parts_path ON upload_parts (storage_path);
