"""The catalog of models: Keras' own, counted as the papers count them, with the weights that Keras fetches."""

import pytest
import yaml
from project import ROOT


@pytest.mark.parametrize(
    "application, module, multiply_adds",
    [
        ("MobileNetV2", "mobilenet_v2", 300e6),  # Sandler et al. 2018, table 4
        ("ResNet50", "resnet", 3.8e9),  # He et al. 2015, table 1
    ],
)
def test_operations_are_counted_as_the_papers_count_them(application, module, multiply_adds):
    from trainoff.measure import models

    run = {
        "architecture": {"application": application, "module": module},
        "classes": 1000,
        "trainable": True,
        "seed": 0,
        "dropout": 0.0,
        "batch_norm_momentum": None,
    }
    model, _ = models.build(run, (224, 224, 3), "uint8")
    assert models.flops_per_image(model) == pytest.approx(2 * multiply_adds, rel=0.06)


MODELS = yaml.safe_load((ROOT / "catalog/models.yaml").read_text())


def test_the_catalog_holds_every_classifier_of_keras():
    import keras

    classifiers = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {entry["application"] for entry in MODELS.values()} == classifiers
    assert list(MODELS) == [entry["application"].lower() for entry in MODELS.values()]
    for entry in MODELS.values():
        assert hasattr(getattr(keras.applications, entry["module"]), "preprocess_input")


@pytest.mark.parametrize(
    "name, img_dim", [("mobilenetv2", 96), ("mobilenetv2", 100), ("mobilenet", 128), ("vgg16", 64)]
)
def test_weights_are_fetched_from_where_keras_fetches_them(name, img_dim, monkeypatch):
    import keras
    from keras.src.utils import file_utils

    class Fetched(Exception):
        pass

    def get_file(fname, origin, **options):
        raise Fetched(origin)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    published = MODELS[name]["weights"]
    size = img_dim if img_dim in published["sizes"] else published["default_size"]
    with pytest.raises(Fetched) as asked:
        getattr(keras.applications, MODELS[name]["application"])(include_top=False, input_shape=(img_dim, img_dim, 3))
    assert str(asked.value) == published["url"].format(size=size)
