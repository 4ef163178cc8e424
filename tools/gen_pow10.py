#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the table of powers of ten that base/number.c needs.

Entry k holds the 128 most significant bits of 10**k, rounded up, so that
2**127 <= entry < 2**128. The range covers every double, both ways: printing
needs -292..324, reading -342..308.
"""

import sys

FIRST, LAST = -342, 324


def top_bits(k: int) -> int:
    """The 128 leading bits of 10**k, rounded up."""
    if k >= 0:
        shift = (10**k).bit_length() - 128
        return -(-(10**k) >> shift) if shift > 0 else 10**k << -shift
    divisor = 10**-k
    shift = divisor.bit_length() + 127
    bits = -(-(1 << shift) // divisor)
    if bits >> 128:  # one bit too many: take it again, still rounding up once
        bits = -(-(1 << (shift - 1)) // divisor)
    return bits


def main() -> None:
    out = sys.stdout if len(sys.argv) < 2 else open(sys.argv[1], "w")
    print("/* Made by tools/gen_pow10.py. */", file=out)
    print(f"#define POW10_FIRST ({FIRST})\n#define POW10_LAST ({LAST})", file=out)
    print("static const struct { uint64_t hi, lo; } pow10_bits[] = {", file=out)
    for k in range(FIRST, LAST + 1):
        bits = top_bits(k)
        assert 1 << 127 <= bits < 1 << 128, k
        print(f"    {{ 0x{bits >> 64:016x}, 0x{bits & (1 << 64) - 1:016x} }},", file=out)
    print("};", file=out)


if __name__ == "__main__":
    main()
