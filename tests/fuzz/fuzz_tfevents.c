/* SPDX-License-Identifier: MIT */
/* TensorBoard's event files: the framing of any bytes, and events of any bytes (whose checksums
 * would never fit). */
#include "service/watch/tb_convert.h"
#include "service/watch/tfevents.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = {(const char *)data, size}, event, record;
    size_t taken;
    struct buf records = {0};
    struct tb_converter c;
    tb_converter_init(&c, "/dev/null/nowhere");
    if (tfevents_next(bytes, &event, &taken) == 1 && taken > size)
        abort();
    tfevents_name_fits(bytes, 1, STR("h"));
    for (struct str rest = bytes; rest.n > 0;) { /* several events: a length byte each */
        size_t n = (unsigned char)rest.p[0];
        if (n == 255 || n > rest.n - 1)
            n = rest.n - 1;
        tb_convert(&c, (struct str){rest.p + 1, n}, &records);
        rest.p += n + 1;
        rest.n -= n + 1;
    }
    tb_convert_end(&c, &records);
    for (struct str rest = {records.data, records.len}; tb_next_record(&rest, &record);)
        if (record.n > records.len)
            abort();
    tb_converter_fini(&c);
    buf_fini(&records);
    return 0;
}
