/* SPDX-License-Identifier: MIT */
/* Error codes and error texts.
 *
 * A function that can fail returns 0 or a negative code: one of ours (below) or a libuv code,
 * which is a negative errno value and passes through unchanged. Where a person will read the
 * reason, the last parameter is a `struct err *`; it may be NULL. */
#ifndef TARE_BASE_ERR_H
#define TARE_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

/* name, value, text. Values are part of tare.h's contract: never renumber. */
#define TARE_ERRORS(X)                                                  \
    X(TARE_EINVAL, -5001, "invalid argument")                           \
    X(TARE_ENOMEM, -5002, "out of memory")                              \
    X(TARE_ECLOSED, -5003, "closed")                                    \
    X(TARE_EFULL, -5004, "queue full")                                  \
    X(TARE_ETIMEOUT, -5005, "timed out")                                \
    X(TARE_EIO, -5006, "input/output error")                            \
    X(TARE_ENOSPACE, -5007, "no space left")                            \
    X(TARE_EEXIST, -5008, "already exists")                             \
    X(TARE_ENOTFOUND, -5009, "not found")                               \
    X(TARE_EFORMAT, -5010, "malformed data")                            \
    X(TARE_ELIMIT, -5011, "over a limit")                               \
    X(TARE_EUNSUPPORTED, -5012, "not supported")                        \
    X(TARE_EPROTO, -5013, "protocol error")                             \
    X(TARE_EPERM, -5014, "not permitted")                               \
    X(TARE_ESERVICE, -5015, "the service is not available")             \
    X(TARE_ECANCELLED, -5016, "cancelled")                              \
    X(TARE_ECONFLICT, -5017, "conflicts with another change")           \
    X(TARE_EFORKED, -5018, "the run belongs to the parent process")

#ifndef TARE_ERROR_CODES /* tare.h has given them already */
enum tare_error_code {
#define X(name, value, text) name = value,
    TARE_ERRORS(X)
#undef X
};
#endif

/* Text of `code`, whether ours or an errno value; never NULL; static storage. Any thread. */
const char *err_text(int code);

/* Name of `code` such as "TARE_EINVAL", or the errno name; never NULL. Any thread. */
const char *err_name(int code);

/* What went wrong, for a person. Fixed size, so that reporting never allocates. */
struct err {
    int code;       /* 0 while nothing has gone wrong */
    char text[508]; /* NUL-terminated, cut if longer */
};

/* Set code and text and return `code`, so that `return err_set(e, TARE_EIO, "...")` works.
 * `e` may be NULL. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put `fmt` in front of the text: "opening run 3fk2: no such file". Returns e's code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
