"""MNIST: handwritten digits of 28 x 28 pixels, as its four idx files. Touches nothing."""

from images.declaration import DataSet, mnist_files

DATASET = DataSet(
    name="mnist",
    title="70,000 handwritten digits, 28 x 28 pixels, 10,000 of them for the test",
    source=mnist_files(
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    classes=tuple("0123456789"),
    shape=(28, 28, 1),
    holdout="test",
    terms="LeCun, Cortes and Burges 1998, CC BY-SA 3.0",
)
