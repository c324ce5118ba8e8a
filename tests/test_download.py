"""Downloads from a local server: verified, retried, with a clear message when they fail."""

import functools
import hashlib
import http.server
import importlib.util
import io
import json
import threading
from pathlib import Path

import pytest
import yaml

import fetch_dataset
import fetch_weights
from trainoff.errors import UserError
from trainoff.files import sha256


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; the first `failures` requests are cut off."""

    failures = 0

    def do_GET(self):
        if Handler.failures:
            Handler.failures -= 1
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """(url, folder) of a web server."""
    folder = tmp_path / "served"
    folder.mkdir()
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{web.server_port}", folder
    web.shutdown()
    thread.join()
    web.server_close()
    Handler.failures = 0


def test_a_broken_transfer_is_tried_again(server, tmp_path):
    url, folder = server
    (folder / "data.tar.gz").write_bytes(b"x" * 1000)
    Handler.failures = 1
    output = tmp_path / "data.tar.gz"
    terminal = io.StringIO()
    fetch_dataset.fetch_dataset(output, terminal, f"{url}/data.tar.gz", sha256(folder / "data.tar.gz"), 1000)
    assert output.read_bytes() == b"x" * 1000
    assert "data.tar.gz" in terminal.getvalue()


@pytest.mark.parametrize("content, size", [(b"changed", 7), (b"right", 4)])
def test_other_content_or_size_is_refused(server, tmp_path, content, size):
    url, folder = server
    (folder / "right").write_bytes(b"right")
    expected = sha256(folder / "right")
    (folder / "data").write_bytes(content)
    with pytest.raises(UserError, match="dataset.archive"):
        fetch_dataset.fetch_dataset(tmp_path / "data", io.StringIO(), f"{url}/data", expected, size)
    assert not (tmp_path / "data").exists()


def test_the_first_hash_of_weights_is_kept_and_enforced(server, tmp_path):
    url, folder = server
    output, hashes = tmp_path / "weights.h5", tmp_path / "sha256.json"
    (folder / "w_96.h5").write_bytes(b"weights")
    fetch_weights.fetch_weights(f"{url}/w_96.h5", output, hashes, io.StringIO())
    assert json.loads(hashes.read_text()) == {"w_96.h5": sha256(output)}
    output.unlink()
    fetch_weights.fetch_weights(f"{url}/w_96.h5", output, hashes, io.StringIO())
    (folder / "w_96.h5").write_bytes(b"others")
    output.unlink()
    with pytest.raises(UserError, match="could not be downloaded.*hash"):
        fetch_weights.fetch_weights(f"{url}/w_96.h5", output, hashes, io.StringIO())
    assert not output.exists()


def test_a_changed_file_is_refused_from_the_first_download_where_a_hash_is_published(server, tmp_path):
    url, folder = server
    output, hashes, terminal = tmp_path / "weights.h5", tmp_path / "sha256.json", io.StringIO()
    (folder / "w.h5").write_bytes(b"as published")
    published = f"md5:{hashlib.md5(b'as published').hexdigest()}"
    fetch_weights.fetch_weights(f"{url}/w.h5", output, hashes, terminal, published)
    assert output.read_bytes() == b"as published" and "first seen" not in terminal.getvalue()
    output.unlink()
    hashes.unlink()
    (folder / "w.h5").write_bytes(b"changed")
    with pytest.raises(UserError, match="could not be downloaded.*hash"):
        fetch_weights.fetch_weights(f"{url}/w.h5", output, hashes, io.StringIO(), published)
    assert not output.exists() and not hashes.exists()
    fetch_weights.fetch_weights(f"{url}/w.h5", output, hashes, terminal)
    assert f"first seen with SHA-256 {sha256(output)}" in terminal.getvalue()


def test_the_hashes_of_the_catalog_are_those_that_keras_names():
    models = yaml.safe_load(fetch_weights.CATALOG.read_text())
    without = {name for name in models if fetch_weights.published_hash(name) is None}
    assert without == {"mobilenet", "mobilenetv2"}
    sources = Path(importlib.util.find_spec("keras").origin).parent / "src" / "applications"
    for name in models.keys() - without:
        module = models[name]["module"]
        text = (sources / f"{'resnet' if module == 'resnet_v2' else module}.py").read_text()
        algorithm, value = fetch_weights.published_hash(name).split(":")
        assert f'"{value}"' in text and len(value) == {"md5": 32, "sha256": 64}[algorithm], name


def test_no_server_gives_a_sentence(tmp_path):
    with pytest.raises(UserError, match="could not be downloaded"):
        fetch_dataset.fetch_dataset(tmp_path / "data", io.StringIO(), "http://127.0.0.1:1/data", "0" * 64, 1)
