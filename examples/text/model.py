"""An example of your own model without images: a text classifier made of Keras' layers."""

import keras
from keras import layers

WORDS = 100  # more than the data has


def build(input_shape, classes):
    """A Keras model from word numbers, (length,), to one logit per class."""
    words = keras.Input(input_shape, dtype="int32")
    vectors = layers.Embedding(WORDS, 32)(words)
    read = layers.Bidirectional(layers.LSTM(32))(vectors)
    return keras.Model(words, layers.Dense(classes, name="logits")(layers.Dropout(0.2)(read)))
