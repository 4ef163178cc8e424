/* SPDX-License-Identifier: MIT */
/* Everything is handed on to the usual VFS; files of ours hold the real one behind their methods. */
#include "fault_vfs.h"

#include <sqlite3.h>
#include <string.h>

struct file {
    sqlite3_file base;
    sqlite3_file *real; /* right behind this struct */
};

struct fault_vfs fault_vfs;
static sqlite3_vfs *usual, ours;

#define REAL(f) (((struct file *)(f))->real)
#define CALL(f, method, ...) REAL(f)->pMethods->method(REAL(f), ##__VA_ARGS__)

static int fault(void)
{
    if (fault_vfs.countdown && --fault_vfs.countdown == 0) {
        fault_vfs.fired++;
        if (--fault_vfs.repeat > 0)
            fault_vfs.countdown = 1;
        return fault_vfs.code;
    }
    return 0;
}

static int f_close(sqlite3_file *f)
{
    return CALL(f, xClose);
}

static int f_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    return CALL(f, xRead, to, n, at);
}

/* A failing write may leave a part of its bytes. */
static int f_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    int rc = fault();
    if (!rc)
        return CALL(f, xWrite, p, n, at);
    CALL(f, xWrite, p, n / 3, at);
    return rc;
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    int rc = fault();
    return rc ? rc : CALL(f, xTruncate, size);
}

static int f_sync(sqlite3_file *f, int flags)
{
    int rc = fault();
    return rc ? rc : CALL(f, xSync, flags);
}

static int f_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return CALL(f, xFileSize, size);
}

static int f_lock(sqlite3_file *f, int level)
{
    return CALL(f, xLock, level);
}

static int f_unlock(sqlite3_file *f, int level)
{
    return CALL(f, xUnlock, level);
}

static int f_check_lock(sqlite3_file *f, int *out)
{
    return CALL(f, xCheckReservedLock, out);
}

static int f_control(sqlite3_file *f, int op, void *arg)
{
    return CALL(f, xFileControl, op, arg);
}

static int f_sector(sqlite3_file *f)
{
    return CALL(f, xSectorSize);
}

static int f_device(sqlite3_file *f)
{
    return CALL(f, xDeviceCharacteristics);
}

static int f_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return CALL(f, xShmMap, page, size, extend, out);
}

static int f_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return CALL(f, xShmLock, offset, n, flags);
}

static void f_shm_barrier(sqlite3_file *f)
{
    CALL(f, xShmBarrier);
}

static int f_shm_unmap(sqlite3_file *f, int delete_flag)
{
    return CALL(f, xShmUnmap, delete_flag);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = f_close,
    .xRead = f_read,
    .xWrite = f_write,
    .xTruncate = f_truncate,
    .xSync = f_sync,
    .xFileSize = f_size,
    .xLock = f_lock,
    .xUnlock = f_unlock,
    .xCheckReservedLock = f_check_lock,
    .xFileControl = f_control,
    .xSectorSize = f_sector,
    .xDeviceCharacteristics = f_device,
    .xShmMap = f_shm_map,
    .xShmLock = f_shm_lock,
    .xShmBarrier = f_shm_barrier,
    .xShmUnmap = f_shm_unmap,
};

static int v_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
    struct file *file = (struct file *)f;
    (void)vfs;
    file->real = (sqlite3_file *)(file + 1);
    int rc = usual->xOpen(usual, name, file->real, flags, out_flags);
    file->base.pMethods = file->real->pMethods ? &methods : NULL;
    return rc;
}

void fault_vfs_install(void)
{
    sqlite3_initialize();
    usual = sqlite3_vfs_find(NULL);
    ours = *usual;
    ours.zName = "fault";
    ours.szOsFile = (int)sizeof(struct file) + usual->szOsFile;
    ours.xOpen = v_open;
    sqlite3_vfs_register(&ours, 1);
}
