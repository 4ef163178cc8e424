# SPDX-License-Identifier: MIT
"""What a terminal does and the peer does not: erasing, backspace, moves by a number, titles."""
# shows: output_raw
# accepts: output.log
import sys

import wandb

run = wandb.init()
print("a\nb\nc")
sys.stdout.write("\x1b[2A\rB\x1b[2B\r")
print("after")
sys.stdout.write("long line that goes\rshort\x1b[K\n")
sys.stdout.write("back\b\bCK\n")
sys.stdout.write("first bar\nsecond bar\x1b[1A\rFIRST\x1b[1B\rSECOND\n")
sys.stdout.write("clear me\x1b[2K\rcleared\n")
sys.stdout.write("title \x1b]0;window\x07 after\n")
sys.stdout.write("far \x1b[10Cright\n")
run.finish()
