/* SPDX-License-Identifier: MIT */
/* The least program that logs:  cc hello.c $(pkg-config --cflags --libs tare) && ./a.out */
#include <tare/tare.h>

#include <math.h>
#include <stdio.h>

int main(void)
{
    tare_run *run;
    if (tare_init(NULL, &run) != 0) {
        fprintf(stderr, "hello: %s\n", tare_last_error_text());
        return 1;
    }
    tare_config(run, tare_f64("speed", 0.1));
    for (int i = 0; i < 100; i++)
        tare_log(run, tare_f64("wave", sin(i * 0.1)), tare_i64("i", i));
    printf("tare show %s\n", tare_run_dir(run));
    return tare_finish(run, 0) == 0 ? 0 : 1;
}
