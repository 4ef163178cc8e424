/* SPDX-License-Identifier: MIT */
/* Where an S3 store is, from its URL (s3.c tells the form) and the environment. */
#ifndef TARE_SERVER_BLOB_S3_URL_H
#define TARE_SERVER_BLOB_S3_URL_H

#include "base/err.h"

#include <stdint.h>

enum { S3_NAME = 256, S3_KEY = 512 };

struct s3 {
    char origin[S3_NAME + 16]; /* http(s)://host[:port] */
    char host[S3_NAME];        /* as it stands in the Host header */
    char base[S3_KEY];         /* path of the bucket: "" or "/bucket" */
    char prefix[S3_KEY];       /* of keys: "" or "a/b/" */
    char region[64], key_id[S3_NAME], secret[S3_NAME], token[4096];
    int stall_s;
    int64_t part_bytes;
};

/* Fill in all of `s`. Expected: TARE_EINVAL, with what is wrong in `e`. */
int s3_parse(struct s3 *s, const char *url, struct err *e);

#endif
