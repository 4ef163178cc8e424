/* SPDX-License-Identifier: MIT */
#include "journal/writer.h"

#include "base/os.h"
#include "journal/encoder.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

/* Cut off what a failed write left behind the whole records. */
static int cut_torn(struct journal_writer *w)
{
    if (w->torn_end <= w->size) {
        w->torn_end = 0;
        return 0;
    }
    int rc = os->ftruncate(w->fd, (off_t)w->size);
    if (rc == 0)
        w->torn_end = 0;
    return rc;
}

int journal_writer_create(struct journal_writer *w, const char *path, struct err *e)
{
    *w = (struct journal_writer){.fd = -1};
    int fd = os->open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
    if (fd == -EEXIST)
        return err_set(e, TARE_EEXIST, "%s already exists; a journal is never overwritten", path);
    if (fd < 0)
        return err_set(e, fd, "creating %s: %s", path, err_text(fd));

    uint8_t header[JOURNAL_HEADER_BYTES];
    size_t written;
    journal_put_header(header);
    int rc = os_pwrite_all(fd, header, sizeof header, 0, &written);
    if (rc < 0) {
        os->close(fd);
        os->unlink(path);
        return err_set(e, rc, "writing the header of %s: %s", path, err_text(rc));
    }
    flock(fd, LOCK_EX | LOCK_NB); /* only a sign; some file systems have none */
    w->fd = fd;
    w->size = sizeof header;
    return 0;
}

int journal_writer_append(struct journal_writer *w, const void *chunks, size_t n, size_t *kept)
{
    *kept = 0;
    if (w->fd < 0)
        return TARE_ECLOSED;
    size_t written;
    int rc = os_pwrite_all(w->fd, chunks, n, w->size, &written);
    *kept = rc == 0 ? n : journal_whole_records(chunks, written, w->size);
    uint64_t end = w->size + written;
    w->size += *kept;
    if (w->torn_end < end)
        w->torn_end = end;
    cut_torn(w); /* a failure is retried with the next append and at close */
    if (rc < 0 && !w->first_error)
        w->first_error = rc;
    return rc;
}

int journal_writer_sync(struct journal_writer *w)
{
    return w->fd < 0 ? TARE_ECLOSED : os->fsync(w->fd);
}

int journal_writer_close(struct journal_writer *w)
{
    if (w->fd < 0)
        return 0;
    int cut = cut_torn(w);
    int rc = os->close(w->fd);
    w->fd = -1;
    return rc < 0 ? rc : cut;
}
