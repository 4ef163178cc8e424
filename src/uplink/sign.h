/* SPDX-License-Identifier: MIT */
/* Signing with RSA: see uplink.h. */
#ifndef TARE_UPLINK_SIGN_H
#define TARE_UPLINK_SIGN_H

#include "uplink/uplink.h"

int uplink_sign_rs256(const char *pem, size_t pem_n, const void *data, size_t data_n, unsigned char *to, size_t *n);

#endif
