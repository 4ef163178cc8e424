-- SPDX-License-Identifier: MIT
-- Whether a file's content is here already is asked for each file of each artifact: without this, all
-- files of all artifacts were looked through.
CREATE INDEX artifact_files_digest ON artifact_files (digest);
