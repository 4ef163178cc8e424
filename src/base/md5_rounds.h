/* SPDX-License-Identifier: MIT */
/* MD5's 64 steps (RFC 1321), for the ways in which they are taken: one stream (digest.c), two in the registers or several in
 * the lanes of vectors (md5_lanes.c). `step`(mix, a, b, c, d, i, word, shift) is a macro that takes step `i`: it adds
 * word `word` & 15 of the block, md5_k[i] and mix(b, c, d) to a, rotates that left by `shift` and adds b. */
#ifndef TARE_BASE_MD5_ROUNDS_H
#define TARE_BASE_MD5_ROUNDS_H

/* The mixing functions of the four rounds. The second in its sum form adds two that share no bit, of which one does not wait
 * for the last step's `b`. */
#define MD5_F(b, c, d) ((d) ^ ((b) & ((c) ^ (d))))
#define MD5_G(b, c, d) ((c) ^ ((d) & ((b) ^ (c))))
#define MD5_G_SUM(b, c, d) (((b) & (d)) + ((c) & ~(d)))
#define MD5_H(b, c, d) ((b) ^ (c) ^ (d))
#define MD5_I(b, c, d) ((c) ^ ((b) | ~(d)))

/* Four steps of a round, from step `i` on: step k takes word k * mul + plus. */
#define MD5_STEPS(step, mix, i, mul, plus, s0, s1, s2, s3)     \
    step(mix, a, b, c, d, i, (i) * (mul) + (plus), s0)         \
    step(mix, d, a, b, c, i + 1, (i + 1) * (mul) + (plus), s1) \
    step(mix, c, d, a, b, i + 2, (i + 2) * (mul) + (plus), s2) \
    step(mix, b, c, d, a, i + 3, (i + 3) * (mul) + (plus), s3)
#define MD5_ROUND(step, mix, i, mul, plus, s0, s1, s2, s3)  \
    MD5_STEPS(step, mix, i, mul, plus, s0, s1, s2, s3)      \
    MD5_STEPS(step, mix, i + 4, mul, plus, s0, s1, s2, s3)  \
    MD5_STEPS(step, mix, i + 8, mul, plus, s0, s1, s2, s3)  \
    MD5_STEPS(step, mix, i + 12, mul, plus, s0, s1, s2, s3)

/* All of them; `g` is MD5_G or MD5_G_SUM. */
#define MD5_ROUNDS(step, g)                            \
    MD5_ROUND(step, MD5_F, 0, 1, 0, 7, 12, 17, 22)     \
    MD5_ROUND(step, g, 16, 5, 1, 5, 9, 14, 20)         \
    MD5_ROUND(step, MD5_H, 32, 3, 5, 4, 11, 16, 23)    \
    MD5_ROUND(step, MD5_I, 48, 7, 0, 6, 10, 15, 21)

#endif
