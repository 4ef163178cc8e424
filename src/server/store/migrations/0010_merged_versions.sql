-- SPDX-License-Identifier: MIT
-- Two clients that log the same content at the same time make two pending versions; the one that is committed second
-- becomes the first: its row is DELETED and says which version its id stands for from then on. dedup 0: its client
-- does not want that.
ALTER TABLE artifacts ADD COLUMN merged_into BIGINT REFERENCES artifacts (id);
ALTER TABLE artifacts ADD COLUMN dedup BIGINT NOT NULL DEFAULT 1;
