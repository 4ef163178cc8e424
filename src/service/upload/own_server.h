/* SPDX-License-Identifier: MIT */
#ifndef TARE_SERVICE_UPLOAD_OWN_SERVER_H
#define TARE_SERVICE_UPLOAD_OWN_SERVER_H

#include <stdbool.h>

/* Does a tare server of our own user, which runs and is the one that `backend_url` reaches, keep the file at `path` (as
 * DIR/blobs/XX/NAME)? What it says of the file is then as good as what this user says; any other backend can name
 * a file that it has made us write before. Looks at the disk; any thread. */
bool own_server_has(const char *path, const char *backend_url);

#endif
