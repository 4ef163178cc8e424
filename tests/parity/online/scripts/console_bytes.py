# SPDX-License-Identifier: MIT
"""Output that is no text: control characters, other encodings, long lines, no line end."""
import sys
import wandb

run = wandb.init(settings=wandb.Settings(console="wrap"))
sys.stdout.write("bell \x07 nul \x00 escape \x1b[31mred\x1b[0m back\bspace\n")
sys.stdout.write("\udcff\udcfe lone\n".encode("utf-8", "surrogatepass").decode("latin-1") + "\n")
sys.stdout.write("x" * 100_000 + "\n")
sys.stdout.write("\r\n\r\n\n")
sys.stdout.write("no end")
run.finish()
