# SPDX-License-Identifier: MIT
"""An identity token is exchanged for credentials."""
# alone
import base64
import json
import os
import pathlib
import time

part = lambda d: base64.urlsafe_b64encode(json.dumps(d).encode()).rstrip(b"=").decode()
token = ".".join([part({"alg": "none"}), part({"exp": int(time.time()) + 3600}), "c2ln"])
pathlib.Path("token.jwt").write_text(token)
del os.environ["WANDB_API_KEY"]
os.environ["WANDB_IDENTITY_TOKEN_FILE"] = str(pathlib.Path("token.jwt").resolve())
os.environ["WANDB_CREDENTIALS_FILE"] = str(pathlib.Path("credentials.json").resolve())
import wandb

run = wandb.init()
run.log({"x": 1})
run.finish()
print(sorted(json.loads(pathlib.Path("credentials.json").read_text())))
