# SPDX-License-Identifier: MIT
"""Requests to download artifacts, which the SDK does not send by itself: whole, once more from the cache,
one that is not there, one whose file is missing. References to files are left to the program."""
import os
import pathlib

import wandb

os.environ["WANDB_CACHE_DIR"] = os.path.abspath("cache")
with wandb.init() as run:
    for name in ("whole", "whole", "none", "missing"):
        for skip_cache in (False, True):
            out = pathlib.Path(f"out-{name}-{skip_cache}").absolute()
            handle = run._interface.deliver_download_artifact(name, str(out), False, skip_cache, None)
            answer = handle.wait_or(timeout=30).response.download_artifact_response
            found = {str(p.relative_to(out)): p.read_text() for p in out.rglob("*") if p.is_file()}
            print(name, skip_cache, repr(answer.error_message), found)
