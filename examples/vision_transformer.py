"""A small vision transformer (Dosovitskiy et al. 2021) of Keras' own layers, as an example of a model of your own."""

import keras
from keras import layers

PATCH = 8  # pixels on a side
WIDTH = 64  # numbers per token
HEADS = 4
BLOCKS = 4


def build(input_shape, classes):
    """A Keras model from pixels (height, width, 3), 0 to 255, to one logit per class."""
    pixels = keras.Input(input_shape)
    # Whatever the precision of the rest, pixels are scaled in it: 0 to 255 becomes -1 to 1.
    scaled = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    patches = layers.Conv2D(WIDTH, PATCH, strides=PATCH, name="patches")(scaled)
    tokens = layers.Reshape((-1, WIDTH))(patches)
    tokens = Positions(name="positions")(tokens)
    for number in range(BLOCKS):
        tokens = block(tokens, f"block{number + 1}")
    tokens = layers.LayerNormalization(epsilon=1e-6)(tokens)
    features = layers.GlobalAveragePooling1D()(tokens)
    return keras.Model(pixels, layers.Dense(classes, name="logits")(features))


def block(tokens, name):
    """Attention and a small network, each on normalized tokens and added to what came in."""
    normalized = layers.LayerNormalization(epsilon=1e-6)(tokens)
    tokens += layers.MultiHeadAttention(HEADS, WIDTH // HEADS, dropout=0.1, name=f"{name}_attention")(
        normalized, normalized
    )
    normalized = layers.LayerNormalization(epsilon=1e-6)(tokens)
    hidden = layers.Dense(2 * WIDTH, activation="gelu", name=f"{name}_hidden")(normalized)
    return tokens + layers.Dense(WIDTH, name=f"{name}_out")(layers.Dropout(0.1)(hidden))


class Positions(layers.Layer):
    """Adds a learned vector to each token, which says where in the image it lies."""

    def build(self, shape):
        self.positions = self.add_weight(shape=shape[1:], initializer="random_normal", name="positions")

    def call(self, tokens):
        return tokens + self.positions
