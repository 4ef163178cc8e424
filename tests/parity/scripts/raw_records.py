# SPDX-License-Identifier: MIT
"""Records that the public calls never send, but other clients may."""
# shows: history summary config metric output_logger
import wandb
from wandb.proto import wandb_internal_pb2 as pb
from wandb.proto.wandb_telemetry_pb2 import TelemetryRecord

run = wandb.init()
service = run._interface


def publish(**record):
    service._publish(pb.Record(**record))


def partial(step=None, flush=None, **items):
    request = pb.PartialHistoryRequest()
    for key, value_json in items.items():
        request.item.add(key=key, value_json=value_json)
    if step is not None:
        request.step.num = step
    if flush is not None:
        request.action.flush = flush
    publish(request=pb.Request(partial_history=request))


partial(a="1", bad="{not json", empty="", cut="[1, 2")
partial(a="2", flush=False)
partial(a="3", b='"x"')
partial(step=10, flush=True, c="1")
partial(step=10, flush=True, d="1")
partial(step=12, flush=False, e=" 1 ")
partial(flush=True)
nested = pb.PartialHistoryRequest()
nested.item.add(nested_key=["n", "a.b", ""], value_json="1")
nested.item.add(nested_key=["n", "z"], value_json='{"y": {"x": 1}}')
nested.item.add(key="both", nested_key=["wins"], value_json="2")
nested.item.add(value_json="3")
publish(request=pb.Request(partial_history=nested))
whole = pb.HistoryRecord()
whole.item.add(key="direct", value_json="1")
whole.item.add(key="_step", value_json="99")
whole.step.num = 99
publish(history=whole)
for name, index in (("first", 0), ("second", 1), ("third", 2)):
    publish(metric=pb.MetricRecord(name=name, step_metric_index=index))
publish(metric=pb.MetricRecord(glob_name="g/*", step_metric="first",
                               options=pb.MetricOptions(step_sync=True, hidden=True)))
publish(metric=pb.MetricRecord(name="g/exact", summary=pb.MetricSummary(best=True),
                               goal=pb.MetricRecord.GOAL_MAXIMIZE))
publish(metric=pb.MetricRecord())
partial(**{"g/exact": "4", "g/other": "5"})
partial(first="7", **{"g/exact": "3"})
partial(**{"g/exact": '"text"', "g/other": "null"})
summary = pb.SummaryRecord()
summary.update.add(nested_key=["s", "t", "u"], value_json="1")
summary.update.add(nested_key=["s", "t", "v"], value_json="2")
summary.update.add(key="bad", value_json="nonsense")
summary.remove.add(nested_key=["s", "t", "u"])
summary.remove.add(key="not there")
publish(summary=summary)
config = pb.ConfigRecord()
config.update.add(nested_key=["c", "d"], value_json="1")
config.update.add(key="bad", value_json="nonsense")
config.remove.add(nested_key=["c", "x"])
publish(config=config)
publish(output_logger=pb.OutputLoggerRecord(line="from a logger"))
publish(output=pb.OutputRecord(output_type=pb.OutputRecord.STDOUT, line="a finished line"))
publish(telemetry=TelemetryRecord(huggingface_version="1.2.3"))
publish(stats=pb.StatsRecord())
publish(use_artifact=pb.UseArtifactRecord(id="one", type="t", name="n"))
publish(request=pb.Request(keepalive=pb.KeepaliveRequest()))
publish(request=pb.Request(telemetry_record=pb.TelemetryRecordRequest()))
print({k: v for k, v in sorted(dict(run.summary).items()) if isinstance(v, (int, str))})
run.finish()
