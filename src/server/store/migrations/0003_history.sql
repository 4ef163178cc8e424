-- SPDX-License-Identifier: MIT
-- What runs log: history, system events, console. Read and written by store/history*.c alone, which
-- says what the bytes mean.

-- A range of lines of one stream (0 history, 1 events) of one run, as store/segment.h says: level 0 is
-- the tail that still gets merged. A segment of one group has it in `data`, others in history_groups.
-- `writer` tells clients apart that write one run together; 0 otherwise.
CREATE TABLE history_segments (
    id          @KEY@,
    run_id      BIGINT NOT NULL,
    stream      BIGINT NOT NULL,
    writer      BIGINT NOT NULL DEFAULT 0,
    first_line  BIGINT NOT NULL,
    n_lines     BIGINT NOT NULL,
    level       BIGINT NOT NULL,
    min_step    BIGINT NOT NULL,
    max_step    BIGINT NOT NULL,
    sorted      BIGINT NOT NULL,
    n_groups    BIGINT NOT NULL,
    directory   BYTEA NOT NULL,
    data        BYTEA,
    UNIQUE (run_id, stream, writer, first_line)
);

CREATE TABLE history_groups (
    id          @KEY@,
    segment_id  BIGINT NOT NULL,
    group_no    BIGINT NOT NULL,
    data        BYTEA NOT NULL,
    UNIQUE (segment_id, group_no)
);

-- Console lines, compressed; a line that is written again replaces the old one.
CREATE TABLE console_blocks (
    run_id      BIGINT NOT NULL,
    first_line  BIGINT NOT NULL,
    n_lines     BIGINT NOT NULL,
    raw_bytes   BIGINT NOT NULL,
    data        BYTEA NOT NULL,
    PRIMARY KEY (run_id, first_line)
);
