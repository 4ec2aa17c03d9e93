"""Asks a SavedModel as TensorFlow Serving does: by its signature, without Keras or code of ours.

Arguments: the folder, a file of raw images (.npy). Prints what the signature takes and gives, and
the answers, as JSON.
"""

import json
import sys

sys.modules["keras"] = None  # type: ignore[assignment] - whoever imports it now fails

import numpy as np  # noqa: E402 - after Keras is gone
import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel  # noqa: E402

folder, images = sys.argv[1:]
stored = SavedModel.FromString(open(f"{folder}/saved_model.pb", "rb").read())  # noqa: SIM115, PTH123
signature = stored.meta_graphs[0].signature_def["serving_default"]
model = tf.saved_model.load(folder)
answer = model.signatures["serving_default"](images=tf.constant(np.load(images)))
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
                name: [one.decode() if isinstance(one, bytes) else one for one in values.tolist()]
                for name, values in ((name, value.numpy()) for name, value in answer.items())
            },
        }
    )
)
