/* SPDX-License-Identifier: MIT */
#include "tests/support/fake_os.h"

#include <errno.h>

static struct fake_os *fake;

/* What this call does: 0 as usual, 1 a part of it and then *error (0: none), 2 only *error. */
static int hit(bool moves_bytes, bool writes, int *error)
{
    struct os_fault *f = &fake->fault;
    *error = 0;
    bool concerned = f->kind == OS_FAULT_ERROR || f->kind == OS_FAULT_CRASH ||
                     (f->kind == OS_FAULT_SHORT && moves_bytes) ||
                     (f->kind == OS_FAULT_DISK_FULL && writes);
    if (!concerned)
        return 0;
    int call = ++fake->n_calls;
    if (call < f->countdown)
        return 0;
    bool first = call == f->countdown;
    bool in_row = call < f->countdown + (f->repeat ? f->repeat : 1);
    switch (f->kind) {
    case OS_FAULT_ERROR:
        *error = -EIO;
        break;
    case OS_FAULT_SHORT:
        if (in_row)
            fake->fired = true;
        return in_row ? 1 : 0;
    case OS_FAULT_DISK_FULL:
        *error = -ENOSPC;
        fake->fired = true;
        return first ? 1 : 2;
    default:
        *error = -EIO;
        fake->fired = true;
        return first && writes ? 1 : 2;
    }
    if (!in_row) {
        *error = 0;
        return 0;
    }
    fake->fired = true;
    return 2;
}

/* A part of `n` bytes: never none, so that the caller has to notice. */
static size_t part(size_t n)
{
    return n > 1 ? n / 2 : n;
}

static int fake_open(const char *path, int flags, mode_t mode)
{
    int error;
    return hit(false, false, &error) ? error : os_real.open(path, flags, mode);
}

static int fake_close(int fd)
{
    int error;
    int what = hit(false, false, &error);
    int rc = os_real.close(fd); /* the descriptor is gone in any case */
    return what ? error : rc;
}

static ssize_t fake_read(int fd, void *to, size_t n)
{
    int error;
    int what = hit(true, false, &error);
    return what == 2 ? error : os_real.read(fd, to, what ? part(n) : n);
}

static ssize_t fake_pread(int fd, void *to, size_t n, off_t at)
{
    int error;
    int what = hit(true, false, &error);
    return what == 2 ? error : os_real.pread(fd, to, what ? part(n) : n, at);
}

static ssize_t fake_write(int fd, const void *p, size_t n)
{
    int error;
    int what = hit(true, true, &error);
    return what == 2 ? error : os_real.write(fd, p, what ? part(n) : n);
}

static ssize_t fake_pwrite(int fd, const void *p, size_t n, off_t at)
{
    int error;
    int what = hit(true, true, &error);
    return what == 2 ? error : os_real.pwrite(fd, p, what ? part(n) : n, at);
}

static int fake_fsync(int fd)
{
    int error;
    return hit(false, false, &error) ? error : os_real.fsync(fd);
}

static int fake_ftruncate(int fd, off_t size)
{
    int error;
    return hit(false, false, &error) ? error : os_real.ftruncate(fd, size);
}

static int fake_unlink(const char *path)
{
    int error;
    return hit(false, false, &error) ? error : os_real.unlink(path);
}

static int fake_rename(const char *from, const char *to)
{
    int error;
    return hit(false, false, &error) ? error : os_real.rename(from, to);
}

void fake_os_install(struct fake_os *f, struct os_fault fault)
{
    static struct os_ops ops;
    ops = os_real;
    ops.open = fake_open;
    ops.close = fake_close;
    ops.read = fake_read;
    ops.pread = fake_pread;
    ops.write = fake_write;
    ops.pwrite = fake_pwrite;
    ops.fsync = fake_fsync;
    ops.ftruncate = fake_ftruncate;
    ops.unlink = fake_unlink;
    ops.rename = fake_rename;
    *f = (struct fake_os){.fault = fault};
    fake = f;
    os = &ops;
}

void fake_os_remove(void)
{
    os = &os_real;
}

void fake_os_free_space(struct fake_os *f)
{
    f->fault.kind = OS_FAULT_NONE;
}
