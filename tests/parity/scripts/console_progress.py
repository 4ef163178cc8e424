# SPDX-License-Identifier: MIT
"""Progress bars: carriage returns and cursor moves, as tqdm writes them."""
# shows: output_raw
import sys

import wandb

run = wandb.init()
for i in range(11):
    bar = "#" * i
    sys.stderr.write(f"\r{i * 10:3d}%|{bar:<10}| {i}/10")
    sys.stderr.flush()
sys.stderr.write("\n")
print("between")
for i in range(5):  # nested bars: the inner one is a line below the outer one
    sys.stderr.write(f"\router {i}")
    for j in range(3):
        sys.stderr.write(f"\n\rinner {j}\x1b[A")
sys.stderr.write("\n\n")
print("a\nb\nc")
sys.stdout.write("\x1b[A\x1b[A\rB\x1b[B\x1b[B\r")
print("after")
sys.stdout.write("overwritten\rover\n")
sys.stdout.write("\x1b[1mbold\x1b[0m \x1b[38;5;196mred\x1b[0m \x1b[4munder\x1b[24m\n")
sys.stdout.write("crlf line\r\nnext\r\n")
sys.stdout.write("colour\x1b[31m at the end\x1b[0m\n")
run.finish()
