# SPDX-License-Identifier: MIT
"""Names with spaces, signs and other letters, an empty file, a folder deep below."""
import pathlib

import wandb

for name in ("with space.txt", "per%cent.txt", "plus+sign&amp.txt", "späť.txt", "empty.bin",
             "a/b/c/d/deep.txt"):
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("" if name == "empty.bin" else name)
run = wandb.init()
run.save("*.txt", policy="now")
run.save("empty.bin", policy="now")
run.save("a/b/c/d/deep.txt", base_path=".", policy="end")
run.finish()
