/* SPDX-License-Identifier: MIT */
/* A new SQLite file as the migrations make it, ready-made when the program is built (tools/embed_sql.py): making
 * its tables one by one is most of a server's first start. */
#ifndef TARE_SERVER_STORE_IMAGE_H
#define TARE_SERVER_STORE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

/* `n` bytes that are not zero, all in one page. */
struct db_image_piece {
    uint32_t offset;
    uint16_t n;
};

struct db_image {
    uint32_t size; /* whole pages */
    const struct db_image_piece *pieces; /* by offset */
    uint32_t n_pieces;
    const unsigned char *bytes; /* of all pieces */
    const uint32_t *times;      /* offsets of the times at which migrations ran: 8 bytes, big-endian, in a piece each */
    uint32_t n_times;
};
extern const struct db_image db_image; /* in migrations.c */

/* Make the file at `path`, durably and all at once, unless it or a log of one is there already. Where that fails, or
 * cannot be done here, nothing is left behind, and SQLite makes the file instead: it also says why when it cannot
 * either. True if the file was made. Any thread; the disk is waited for. */
bool db_image_make(const char *path);

#endif
