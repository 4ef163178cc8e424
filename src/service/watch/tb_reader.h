/* SPDX-License-Identifier: MIT */
/* Reads the event files of one folder in the order of their names, going on where it stopped.
 *
 * A file is done when a later one exists and no bytes are left in it. A record that is not all
 * there, or whose checksum does not fit, may still be under way: it is read again until
 * TB_PATIENCE_NS have passed, then the rest of the file is given up. Holds no descriptor between
 * two calls. Blocks; one thread at a time. */
#ifndef TARE_SERVICE_WATCH_TB_READER_H
#define TARE_SERVICE_WATCH_TB_READER_H

#include "service/watch/tb_convert.h"

#define TB_PATIENCE_NS (30LL * 1000000000)
enum { TB_READ_BYTES = 8 << 20 }; /* of one tb_reader_read */

struct tb_reader {
    char *dir;         /* absolute; this and the strings below are owned */
    char *files_dir;   /* of the run */
    char *host;        /* of the files to read; "" for any */
    int64_t start_s;   /* files not older than this; 0 for any */
    bool save;         /* link the files into the run's folder */
    char *save_path;   /* in this folder of it; "" to keep their place under `root` */
    char *root;        /* absolute */
    char *current;     /* name of the file being read, NULL before the first */
    uint64_t offset;   /* of the first byte of `data` in it */
    struct buf data;   /* read, not yet understood */
    int64_t stuck_ns;  /* since when data does not go on; 0 if it does */
    bool damaged;      /* a checksum did not fit: data must be read again */
    struct tb_converter converter;
};

void tb_reader_init(struct tb_reader *r);
void tb_reader_fini(struct tb_reader *r);

/* Read what is there, at most TB_READ_BYTES, and put what it means at the end of `records`. True at
 * the end of what is there. `is_last`: nothing more will be written, what is torn is given up and
 * the last row closed. */
bool tb_reader_read(struct tb_reader *r, int64_t now_ns, bool is_last, struct buf *records);

#endif
