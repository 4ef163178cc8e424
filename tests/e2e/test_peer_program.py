# SPDX-License-Identifier: MIT
"""A program of the SDK whose teardown its wandb-core has not read ends all the same, with its own exit code."""

import subprocess
import sys

import pytest

from server_support import Server, peer_program

LOST = """
import json, sys, wandb
from wandb.sdk.lib.service.service_client import ServiceClient
send = ServiceClient.publish
async def publish(self, request):
    if not request.HasField("inform_teardown"):
        await send(self, request)
ServiceClient.publish = publish
print(json.dumps(wandb.Api().viewer.username), flush=True)
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.parametrize("code", [0, 3])
def test_a_lost_teardown(tmp_path, code):
    with Server(tmp_path) as server:
        done = peer_program.run([sys.executable, "-c", LOST, str(code)], 10, env=server.env(), cwd=tmp_path, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (code, '"local"\n'), done.stderr
