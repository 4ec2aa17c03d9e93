"""MNIST again, as the one file that `keras.datasets.mnist` loads. Touches nothing."""

from images.declaration import DataSet, File, Npz

DATASET = DataSet(
    name="mnist_npz",
    title="MNIST from Keras's own file; the same images and labels as 'mnist'",
    source=Npz(
        File(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
            "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        )
    ),
    classes=tuple("0123456789"),
    shape=(28, 28, 1),
    holdout="test",
    terms="LeCun, Cortes and Burges 1998, CC BY-SA 3.0",
)
