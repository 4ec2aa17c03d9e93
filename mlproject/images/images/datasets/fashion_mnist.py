"""Fashion-MNIST: articles of clothing in MNIST's shape and files. Touches nothing."""

from images.declaration import DataSet, mnist_files

DATASET = DataSet(
    name="fashion_mnist",
    title="70,000 articles of clothing, 28 x 28 pixels, 10,000 of them for the test",
    source=mnist_files(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    shape=(28, 28, 1),
    holdout="test",
    terms="Xiao, Rasul and Vollgraf 2017, MIT licence",
)
