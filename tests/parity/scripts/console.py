# SPDX-License-Identifier: MIT
"""Lines, unfinished lines, standard error, a lot of output."""
# shows: output_raw
import sys

import wandb

run = wandb.init()
print("one")
print("two", end="")
print(" more of two")
print("error", file=sys.stderr)
sys.stdout.write("no newline, ")
sys.stdout.flush()
sys.stderr.write("mixed\n")
print()
print("\ttab\tand \x1b[31mcolour\x1b[0m and ünïcödé \U0001f600 and wide 表")
for i in range(300):
    print(f"line {i}")
print("x" * 5000)
print("unfinished", end="")
run.finish()
