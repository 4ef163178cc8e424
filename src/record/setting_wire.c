/* SPDX-License-Identifier: MIT */
#include "record/setting_wire.h"

bool setting_wire_has(struct str settings, uint32_t number)
{
    struct wire_reader r = wire_open(settings);
    for (struct wire_field f; wire_next(&r, &f) > 0;)
        if (f.number == number && f.type == WIRE_BYTES)
            return true;
    return false;
}

struct str setting_wire_text(struct str settings, uint32_t number)
{
    return wire_find_bytes(wire_find_bytes(settings, number), 1);
}

int64_t setting_wire_int(struct str settings, uint32_t number)
{
    return (int64_t)wire_find_varint(wire_find_bytes(settings, number), 1);
}

bool setting_wire_bool(struct str settings, uint32_t number)
{
    return setting_wire_int(settings, number) != 0;
}

double setting_wire_double(struct str settings, uint32_t number)
{
    struct wire_field f = {0};
    double v = 0;
    struct wire_reader r = wire_open(wire_find_bytes(settings, number));
    while (wire_next(&r, &f) > 0)
        if (f.number == 1 && f.type == WIRE_FIXED64)
            memcpy(&v, &f.value, sizeof v);
    return v;
}

bool setting_wire_list(struct str settings, uint32_t number, size_t *at, struct str *value)
{
    struct str list = wire_find_bytes(settings, number);
    struct wire_field f = {0};
    struct wire_reader r = wire_open(list);
    if (*at > list.n)
        return false;
    r.p += *at;
    while (wire_next(&r, &f) > 0) {
        if (f.number == 1 && f.type == WIRE_BYTES) {
            *at = (size_t)(r.p - list.p);
            *value = f.bytes;
            return true;
        }
    }
    return false;
}
