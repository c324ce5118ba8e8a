"""An example of your own model: a small vision transformer (Dosovitskiy et al. 2021) made of Keras' layers."""

import keras
from keras import layers

PATCH = 8  # pixels on a side
WIDTH = 64  # numbers per token
HEADS = 4
BLOCKS = 4


def build(input_shape, classes):
    """A Keras model from pixels (height, width, 3), 0 to 255, to one logit per class."""
    pixels = keras.Input(input_shape)
    # Scales pixels from 0 to 255 to -1 to 1, in the precision of the model.
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
    """Attention and a small network, each applied to normalized tokens and added to its input."""
    normalized = layers.LayerNormalization(epsilon=1e-6)(tokens)
    tokens += layers.MultiHeadAttention(HEADS, WIDTH // HEADS, dropout=0.1, name=f"{name}_attention")(
        normalized, normalized
    )
    normalized = layers.LayerNormalization(epsilon=1e-6)(tokens)
    hidden = layers.Dense(2 * WIDTH, activation="gelu", name=f"{name}_hidden")(normalized)
    return tokens + layers.Dense(WIDTH, name=f"{name}_out")(layers.Dropout(0.1)(hidden))


class Positions(layers.Layer):
    """Adds a learned vector to each token, which encodes its position in the image."""

    def build(self, shape):
        self.positions = self.add_weight(shape=shape[1:], initializer="random_normal", name="positions")

    def call(self, tokens):
        return tokens + self.positions
