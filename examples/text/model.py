"""A text classifier of Keras' own layers, as an example of a model of your own that takes no images."""

import keras
from keras import layers

WORDS = 100  # more than there are in the data


def build(input_shape, classes):
    """A Keras model from the numbers of words, (length,), to one logit per class."""
    words = keras.Input(input_shape, dtype="int32")
    vectors = layers.Embedding(WORDS, 32)(words)
    read = layers.Bidirectional(layers.LSTM(32))(vectors)
    return keras.Model(words, layers.Dense(classes, name="logits")(layers.Dropout(0.2)(read)))
