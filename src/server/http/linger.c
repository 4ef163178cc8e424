/* SPDX-License-Identifier: MIT */
#include "server/http/linger.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE_BYTES = 64 << 10, PIECES = 16 /* of one, before the others have their turn */ };

void linger_init(struct lingering *l)
{
    *l = (struct lingering){.wake_fd = -1};
    pthread_mutex_init(&l->lock, NULL);
}

/* False: nothing more will come. */
static bool drop_bytes(int fd)
{
    char piece[PIECE_BYTES];
    for (int i = 0; i < PIECES; i++) {
        ssize_t n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (n < 0)
            break;
    }
    return true;
}

/* Under the lock; only the thread takes any away, so the places in `polled` are those in `all`. */
static void look(struct lingering *l, const struct pollfd *polled, int n_polled)
{
    int64_t now_ns = clock_mono_ns();
    for (int i = n_polled - 1; i >= 0; i--)
        if ((polled[i].revents && !drop_bytes(l->all[i].fd)) || now_ns >= l->all[i].until_ns) {
            close(l->all[i].fd);
            l->all[i] = l->all[--l->n];
        }
}

static void *linger_main(void *arg)
{
    struct lingering *l = arg;
    struct pollfd p[1 + LINGER_MAX];
    pthread_mutex_lock(&l->lock);
    while (!l->stopping) {
        int n = l->n;
        p[0] = (struct pollfd){.fd = l->wake_fd, .events = POLLIN};
        for (int i = 0; i < n; i++)
            p[1 + i] = (struct pollfd){.fd = l->all[i].fd, .events = POLLIN};
        pthread_mutex_unlock(&l->lock);
        poll(p, 1 + (nfds_t)n, n ? 1000 : -1);
        eventfd_t count;
        if (p[0].revents)
            eventfd_read(l->wake_fd, &count);
        pthread_mutex_lock(&l->lock);
        look(l, p + 1, n);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static bool start(struct lingering *l)
{
    if (!l->started && (l->wake_fd >= 0 || (l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) >= 0))
        l->started = pthread_create(&l->thread, NULL, linger_main, l) == 0;
    return l->started;
}

void linger_add(struct lingering *l, int fd)
{
    pthread_mutex_lock(&l->lock);
    int copy = fd >= 0 && l->n < LINGER_MAX && !l->stopping && start(l) ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy >= 0) {
        l->all[l->n].fd = copy;
        l->all[l->n++].until_ns = clock_mono_ns() + LINGER_S * 1000000000ll;
        eventfd_write(l->wake_fd, 1);
    }
    pthread_mutex_unlock(&l->lock);
}

void linger_fini(struct lingering *l)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    if (l->started)
        eventfd_write(l->wake_fd, 1);
    pthread_mutex_unlock(&l->lock);
    if (l->started)
        pthread_join(l->thread, NULL);
    for (int i = 0; i < l->n; i++)
        close(l->all[i].fd);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
}
