"""Asks a SavedModel as TensorFlow Serving does: by its signature, without Keras or code of ours.

Arguments: the folder, a file of raw images (.npy). The question goes through the messages of the
server's gRPC service, written and read by its own client library, and what the server checks of
them is checked here: the signature's name, its inputs, their types and shapes. Prints what the
signature takes and gives, and the answers, as JSON.
"""

import json
import sys

sys.modules["keras"] = None  # type: ignore[assignment] - whoever imports it now fails

import numpy as np  # noqa: E402 - after Keras is gone
import tensorflow as tf  # noqa: E402
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
                name: [
                    one.decode() if isinstance(one, bytes) else one
                    for one in tf.make_ndarray(tensor).tolist()
                ]
                for name, tensor in response.outputs.items()
            },
        }
    )
)
