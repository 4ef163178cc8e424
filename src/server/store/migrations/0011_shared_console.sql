-- SPDX-License-Identifier: MIT
-- Several clients that share a run number their console lines each from 0: where in the run's output each client's
-- lines went (store/shared.c).
CREATE TABLE console_places (
    run_id      BIGINT NOT NULL,
    writer      BIGINT NOT NULL,
    first_line  BIGINT NOT NULL, -- the client's number
    number      BIGINT NOT NULL, -- the run's
    n_lines     BIGINT NOT NULL,
    PRIMARY KEY (run_id, writer, first_line)
);
