/* SPDX-License-Identifier: MIT */
/* Reading settings: every scalar of Pb__Settings is a wrapper that may be absent (NULL).
 *
 *     const char *dir = setting_str(s->files_dir, "");
 *     bool offline = setting_bool(s->_offline, false); */
#ifndef TARE_RECORD_SETTING_H
#define TARE_RECORD_SETTING_H

#include "google/protobuf/wrappers.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

static inline const char *setting_str(const Google__Protobuf__StringValue *v, const char *absent)
{
    return v ? v->value : absent;
}

static inline bool setting_bool(const Google__Protobuf__BoolValue *v, bool absent)
{
    return v ? v->value != 0 : absent;
}

static inline int32_t setting_int(const Google__Protobuf__Int32Value *v, int32_t absent)
{
    return v ? v->value : absent;
}

static inline double setting_double(const Google__Protobuf__DoubleValue *v, double absent)
{
    return v ? v->value : absent;
}

#endif
