"""A network of the layers of MobileNetV2, but few of them: what a framework needs to start with it is a fourth."""

import keras
from keras import layers


def build(input_shape, classes):
    pixels = keras.Input(input_shape)
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    x = normalized(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x))
    y = normalized(layers.Conv2D(32, 1, use_bias=False)(x))
    y = normalized(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y))
    y = layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(y))
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    return keras.Model(pixels, layers.Dense(classes)(layers.Dropout(0.4)(x)))


def normalized(x):
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))
