# SPDX-License-Identifier: MIT
"""The comparison itself: blind to time and batching, not to what is sent."""

import copy
import json

import pytest

import harness
import traffic
from recording_backend import Request

CONFIG = json.dumps({"lr": {"value": 0.1}, "_wandb": {"value": {"t": {"3": [2, 41]}}}})


def graphql(name, /, **variables):
    body = json.dumps({"operationName": name, "query": "", "variables": variables}).encode()
    return Request("s", "graphql", name, [("User-Agent", "wandb-core")], body, "", True, 0.0)


def stream(**body):
    return Request("s", "file_stream", "run0id", [], json.dumps(body).encode(), "", True, 0.0)


def rows(first, *content):
    return {"wandb-history.jsonl": {"offset": first, "content": list(content)}}


def put(name, body):
    return Request("s", "put", f"run0id/{name}", [], body, "", True, 0.0)


def one_run():
    return [
        graphql("UpsertBucket", name="run0id", project="p", entity=None, config=CONFIG),
        stream(files=rows(0, '{"x":1,"_step":0}', '{"x":2,"_step":1}')),
        graphql("CreateRunFiles", entity="e", project="p", run="run0id", files=["a.txt", "b.txt"]),
        put("a.txt", b"a"), put("b.txt", b"b"),
        stream(uploaded=["a.txt", "b.txt"], complete=True, exitcode=0),
    ]


def seen(requests, tmp_path):
    printed = {"stdout": "", "stderr": "", "exit": "0"}
    return traffic.collect(requests, tmp_path, printed)


def test_batching_is_no_difference(tmp_path):
    other = one_run()
    other[1:3] = [
        stream(files=rows(0, '{"x":1,"_step":0}')),
        graphql("CreateRunFiles", entity="e", project="p", run="run0id", files=["b.txt"]),
        stream(files=rows(0, '{"x":1,"_step":0}')), stream(),
        graphql("CreateRunFiles", entity="e", project="p", run="run0id", files=["a.txt"]),
        stream(files=rows(1, '{"_step":1,"x":2.0}'), uploaded=["b.txt"]),
    ]
    assert seen(other, tmp_path) == seen(one_run(), tmp_path)


@pytest.mark.parametrize("change", [
    lambda r: r.pop(3),
    lambda r: setattr(r[3], "body", b"A"),
    lambda r: r.append(graphql("Viewer")),
    lambda r: r[0].headers.append(("X-Extra", "1")),
    lambda r: setattr(r[0], "body", r[0].body.replace(b"0.1", b"0.2")),
    lambda r: setattr(r[1], "body", r[1].body.replace(b'x\\":2', b'x\\":3')),
    lambda r: setattr(r[5], "body", r[5].body.replace(b'"exitcode": 0', b'"exitcode": 1')),
    lambda r: setattr(r[5], "body", r[5].body.replace(b"b.txt", b"c.txt")),
])
def test_a_change_is_seen(change, tmp_path):
    other = copy.deepcopy(one_run())
    change(other)
    assert seen(other, tmp_path) != seen(one_run(), tmp_path)


@pytest.mark.parametrize("change, why", [
    (lambda r: r.pop(0), "before it was known"),
    (lambda r: r.insert(2, stream(files=rows(5, "{}"))), "a hole"),
    (lambda r: r.insert(2, stream(files=rows(0, '{"x":9}'))), "said otherwise"),
    (lambda r: r.append(stream(files=rows(2, "{}"))), "after the end"),
])
def test_what_no_order_excuses_is_unsound(change, why, tmp_path):
    other = one_run()
    change(other)
    with pytest.raises(AssertionError, match=why):
        seen(other, tmp_path)


def test_a_peer_that_fails_is_asked_again_but_not_for_ever():
    def judge(found):
        asked.append(found)
        assert found == right

    asked, right = [], 1
    harness.judged_by_peer(lambda n: n, judge)
    assert asked == [0, 1]
    asked, right = [], "another"
    with pytest.raises(AssertionError):
        harness.judged_by_peer(lambda n: n, judge)
    assert asked == list(range(harness.PEER_TRIES))
