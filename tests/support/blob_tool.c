/* SPDX-License-Identifier: MIT */
/* blob.h by hand: blob_tool URL put TEXT | get NAME | delete NAME | list */
#include "server/blob/blob.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int print_name(void *arg, const char *name, int64_t size_bytes)
{
    printf("%s\n", name);
    return 0;
}

static int print_bytes(struct blobs *b, const char *name, struct err *e)
{
    char piece[4096];
    int fd;
    int64_t size;
    ssize_t n;
    int rc = blob_open(b, name, &fd, &size, e);
    while (rc == 0 && (n = read(fd, piece, sizeof piece)) > 0)
        fwrite(piece, 1, (size_t)n, stdout);
    if (rc == 0)
        close(fd);
    return rc;
}

static int run(struct blobs *b, const char *verb, const char *word, struct err *e)
{
    struct blob_info info;
    if (strcmp(verb, "list") == 0)
        return blobs_each(b, print_name, NULL, e);
    if (!word)
        return err_set(e, TARE_EINVAL, "usage: blob_tool URL put TEXT | get NAME | delete NAME | list");
    if (strcmp(verb, "get") == 0)
        return print_bytes(b, word, e);
    if (strcmp(verb, "delete") == 0)
        return blob_delete(b, word, e);
    int rc = blob_put_bytes(b, word, strlen(word), &info, e);
    if (rc == 0)
        printf("%s\n", info.name);
    return rc;
}

int main(int argc, char **argv)
{
    struct blobs *b = NULL;
    struct err e = {0};
    int rc = argc > 2 ? blobs_open_beside(&b, argv[1], &e) : err_set(&e, TARE_EINVAL, "usage: blob_tool URL VERB");
    if (rc == 0)
        rc = run(b, argv[2], argv[3], &e);
    blobs_close(b);
    if (rc)
        fprintf(stderr, "blob_tool: %s\n", e.text);
    return rc != 0;
}
