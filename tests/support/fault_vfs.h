/* SPDX-License-Identifier: MIT */
/* A disk for SQLite whose nth write, sync or truncation fails. */
#ifndef TARE_TESTS_FAULT_VFS_H
#define TARE_TESTS_FAULT_VFS_H

struct fault_vfs {
    int countdown; /* the nth call from now fails; 0: none */
    int repeat;    /* and so do repeat - 1 calls after it */
    int code;      /* what it answers: SQLITE_IOERR_WRITE, SQLITE_FULL ... */
    int fired;     /* calls that have failed */
};
extern struct fault_vfs fault_vfs;

/* Put it before the usual one. Once. */
void fault_vfs_install(void);

#endif
