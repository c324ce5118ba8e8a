"""The frameworks under Keras. Each module offers the same functions:

start(accelerator, index, threads)   imports the framework so that it sees that device alone; raises DeviceUnavailable
describe(accelerator, index)         facts that the framework knows about the device
placement(model)                     the kinds of device that hold the model's variables, such as {"cpu"}
synchronize(model)                   returns when the device has finished all work given to it
feed_training(...)                   what Keras' fit takes to train on batches prepared ahead
feed_validation(...)                 what Keras' evaluate takes
prepare_training(model, xla)         makes the training step
"""


def load(name):
    """The module of the backend `name`. The imports are spelled out so that they can be found without running."""
    if name == "tensorflow":
        from trainoff.backends import tensorflow as backend
    else:
        raise ValueError(f"unknown backend {name!r}")
    return backend
