-- SPDX-License-Identifier: MIT
-- What runs log: history, system events, console. Read and written by store/history*.c alone, which
-- says what the bytes mean.

-- A range of lines of one stream (0 history, 1 events) of one run. level 0 is row tail: all columns in
-- `pack`. level 1: columns of any size have a row in history_chunks, small ones stay in `pack`.
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
    pack        BYTEA,
    UNIQUE (run_id, stream, writer, first_line)
);

-- A key of a run's stream; `stats` is JSON: type counts, last value, whether it only grows.
CREATE TABLE history_series (
    id          @KEY@,
    run_id      BIGINT NOT NULL,
    stream      BIGINT NOT NULL,
    path        TEXT NOT NULL,
    stats       TEXT NOT NULL DEFAULT '{}',
    UNIQUE (run_id, stream, path)
);

CREATE TABLE history_chunks (
    id          @KEY@,
    series_id   BIGINT NOT NULL,
    segment_id  BIGINT NOT NULL,
    n_rows      BIGINT NOT NULL,
    n_values    BIGINT NOT NULL,
    n_numbers   BIGINT NOT NULL,
    min_value   DOUBLE PRECISION,
    max_value   DOUBLE PRECISION,
    sum_value   DOUBLE PRECISION,
    last_value  DOUBLE PRECISION,
    envelope    BYTEA,
    data        BYTEA NOT NULL,
    UNIQUE (series_id, segment_id)
);
CREATE INDEX history_chunks_segment ON history_chunks (segment_id);

CREATE TABLE console_blocks (
    run_id      BIGINT NOT NULL,
    first_line  BIGINT NOT NULL,
    n_lines     BIGINT NOT NULL,
    raw_bytes   BIGINT NOT NULL,
    data        BYTEA NOT NULL,
    PRIMARY KEY (run_id, first_line)
);
