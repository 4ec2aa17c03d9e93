"""Asks a SavedModel as TensorFlow Serving does: by its signature, without Keras or code of ours.

Arguments: the folder, a file of raw images (.npy). The question goes through the messages of the
server's gRPC service, written and read by its own client library, and what the server checks of
them is checked here: the signature's name, its inputs, their types and shapes. Then the same as a
body of its REST service, which MLflow's reader of that format takes apart. Prints what the
signature takes and gives, the answers, and those over REST, as JSON.
"""

import json
import sys
from typing import Any

sys.modules["keras"] = None  # type: ignore[assignment] - whoever imports it now fails

import numpy as np  # noqa: E402 - after Keras is gone
import tensorflow as tf  # noqa: E402
from mlflow.utils.proto_json_utils import parse_tf_serving_input  # noqa: E402
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel  # noqa: E402
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse  # noqa: E402

folder, images = sys.argv[1:]
stored = SavedModel.FromString(open(f"{folder}/saved_model.pb", "rb").read())  # noqa: SIM115, PTH123

sent = PredictRequest()
sent.model_spec.name, sent.model_spec.signature_name = "digits", "serving_default"
sent.inputs["images"].CopyFrom(tf.make_tensor_proto(np.load(images)))
request = PredictRequest.FromString(sent.SerializeToString())

signature = stored.meta_graphs[0].signature_def[request.model_spec.signature_name]
assert set(request.inputs) == set(signature.inputs)
for name, tensor in request.inputs.items():
    assert tensor.dtype == signature.inputs[name].dtype
    taken = tf.TensorShape(signature.inputs[name].tensor_shape)
    assert taken.is_compatible_with(tf.TensorShape(tensor.tensor_shape))
model = tf.saved_model.load(folder)
given = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
answers = model.signatures[request.model_spec.signature_name](**given)

sent_back = PredictResponse()
for name, values in answers.items():
    assert values.dtype == tf.as_dtype(signature.outputs[name].dtype)
    sent_back.outputs[name].CopyFrom(tf.make_tensor_proto(values.numpy()))
response = PredictResponse.FromString(sent_back.SerializeToString())


def over_rest(body: str) -> dict[str, Any]:
    """Return the answer to a body of `/v1/models/<name>:predict`.

    As the server's page on REST says: numbers of the signature's type or no answer; with several
    outputs `instances` are answered with an object each, `inputs` with a list for each output.
    """
    asked = json.loads(body)
    read = np.asarray(parse_tf_serving_input(asked))
    ((name, info),) = signature.inputs.items()
    tensor = tf.convert_to_tensor(read.tolist(), tf.as_dtype(info.dtype))
    assert tf.TensorShape(info.tensor_shape).is_compatible_with(tensor.shape)
    given = model.signatures["serving_default"](**{name: tensor})
    columns = {name: readable(values.numpy()) for name, values in given.items()}
    if "inputs" in asked:
        return {"outputs": columns}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def readable(values: np.ndarray[Any, Any]) -> list[Any]:
    """Return values as JSON has them; the server writes texts as they are, but for `..._bytes`."""
    return [one.decode() if isinstance(one, bytes) else one for one in values.tolist()]


assert not [name for name in signature.outputs if name.endswith("_bytes")]
sent_images = np.load(images).tolist()
rest = {key: over_rest(json.dumps({key: sent_images})) for key in ("instances", "inputs")}
sys.stdout.write(
    json.dumps(
        {
            "tags": list(stored.meta_graphs[0].meta_info_def.tags),
            "method": signature.method_name,
            "inputs": {
                name: [tf.as_dtype(info.dtype).name, [d.size for d in info.tensor_shape.dim]]
                for name, info in signature.inputs.items()
            },
            "batched": {
                name: info.tensor_shape.dim[0].size == -1
                for name, info in signature.outputs.items()
            },
            "answers": {
                name: readable(tf.make_ndarray(tensor)) for name, tensor in response.outputs.items()
            },
            "rest": rest,
        }
    )
)
