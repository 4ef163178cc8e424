# SPDX-License-Identifier: MIT
"""Progress bars: carriage returns and cursor moves, as tqdm and others write them."""
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
print("a\nb\nc")
sys.stdout.write("\x1b[2A\rB\x1b[2B\r")
sys.stdout.flush()
print("after")
sys.stdout.write("long line that goes\rshort\x1b[K\n")
sys.stdout.write("overwritten\rover\n")
sys.stdout.write("back\b\bCK\n")
sys.stdout.write("first bar\nsecond bar\x1b[1A\rFIRST\x1b[1B\rSECOND\n")
sys.stdout.write("clear me\x1b[2K\rcleared\n")
sys.stdout.write("\x1b[1mbold\x1b[0m \x1b[38;5;196mred\x1b[0m \x1b[4munder\x1b[24m\n")
sys.stdout.write("crlf line\r\nnext\r\n")
sys.stdout.write("up three\n\n\n\x1b[3Aup\x1b[3B\n")
sys.stdout.write("title \x1b]0;window\x07 after\n")
sys.stdout.write("far \x1b[40Cright\n")
run.finish()
