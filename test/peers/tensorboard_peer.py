"""What TensorBoard's own reader finds in a folder of event files, as JSON: one folder a line in, one answer a line out.

Wants `pip install tensorboard`.
"""
import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2


def read(folder):
    events = EventAccumulator(folder, size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags["scalars"]}
    histograms = {}
    for tag in tags["histograms"]:
        h = events.Histograms(tag)[-1].histogram_value
        histograms[tag] = {"min": h.min, "max": h.max, "count": h.num, "counted": sum(h.bucket), "buckets": len(h.bucket),
                           "limits": len(h.bucket_limit)}
    texts, hparams = {}, {}
    for tag in tags["tensors"]:
        plugin = events.summary_metadata.get(tag)
        if plugin and plugin.plugin_data.plugin_name == "text":
            texts[tag] = events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
    content = events.PluginTagToContent("hparams") if "hparams" in {
        m.plugin_data.plugin_name for m in events.summary_metadata.values()} else {}
    for data in content.values():
        info = plugin_data_pb2.HParamsPluginData.FromString(data)
        if info.HasField("session_start_info"):
            for name, value in info.session_start_info.hparams.items():
                hparams[name] = getattr(value, value.WhichOneof("kind"))
    return {"scalars": scalars, "histograms": histograms, "texts": texts, "hparams": hparams}


for line in sys.stdin:
    try:
        answer = read(json.loads(line)["folder"])
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
