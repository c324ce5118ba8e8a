"""Limits for reading files that somebody else made: one table for all readers, shown in docs/reference.md.

A reader takes its limits from here and checks names, counts and declared sizes before it reads content. Every limit is far
above what real files hold. Readers of formats that libraries parse also run in a process of their own (see `confined`), so
that even a file that no limit here stops ends in an error message.
"""

from dataclasses import dataclass

KIB, MIB, GIB = 2**10, 2**20, 2**30


@dataclass(frozen=True)
class Bound:
    """A limit: `reader` accepts at most `value` `unit` of `what`."""

    reader: str
    what: str
    value: int
    unit: str

    def text(self) -> str:
        """The value as written in messages and docs: 64 MiB, 200,000 members."""
        if self.unit != "bytes":
            return f"{self.value:,} {self.unit}"
        for size, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
            if self.value >= size and self.value % size == 0:
                return f"{self.value // size:,} {name}"
        return f"{self.value:,} bytes"


TABLE = []


def _bound(reader, what, value, unit):
    TABLE.append(Bound(reader, what, value, unit))
    return value


# A process that reads one file.
CONFINED_BYTES = _bound("process that reads a file", "memory beyond its start", 320 * MIB, "bytes")
CONFINED_SECONDS = _bound("process that reads a file", "time for names and sizes", 4, "seconds")
CONFINED_BYTES_PER_SECOND = _bound(
    "process that reads a file", "content: a further second for every", 16 * MIB, "bytes"
)

WEIGHTS_FILE_BYTES = _bound("weights file", "the file", 16 * GIB, "bytes")
WEIGHTS_OBJECTS = _bound("weights file", "groups and arrays", 20_000, "objects")
WEIGHTS_DEPTH = _bound("weights file", "groups inside each other", 32, "levels")
WEIGHTS_NAME = _bound("weights file", "name of a group or array with its path", 1_000, "characters")
WEIGHTS_NAMES_BYTES = _bound("weights file", "list of layer or weight names", 4 * MIB, "bytes")
WEIGHTS_EXPANSION = _bound("weights file", "declared bytes for every byte of a compressed array", 100, "times")
WEIGHTS_CHUNK_BYTES = _bound("weights file", "piece that is decompressed at once", 64 * MIB, "bytes")
KERAS_ZIP_MEMBERS = _bound(".keras file", "members", 1_000, "members")

ARCHIVE_FILE_BYTES = _bound("archive of images", "the file", 1 * GIB, "bytes")
ARCHIVE_UNPACKED_BYTES = _bound("archive of images", "unpacked, whether used or not", 512 * MIB, "bytes")
ARCHIVE_MEMBERS = _bound("archive of images", "members", 10_000, "members")
ARCHIVE_NAME = _bound("archive of images", "name of a member", 1_000, "characters")
ARCHIVE_HEADER_BYTES = _bound("archive of images", "extended header of a member", 64 * KIB, "bytes")
ARCHIVE_USED_BYTES = _bound("archive of images", "all files that are used", 384 * MIB, "bytes")

CLASSES = _bound("folder of images, arrays", "classes", 100_000, "classes")
FOLDER_FILES = _bound("folder of images", "files", 20_000_000, "files")
# Cameras with 102 megapixels exist; decoding such an image takes a gigabyte.
IMAGE_PIXELS = _bound("folder of images", "one image, seen before it is decoded", 105_000_000, "pixels")
IMAGE_SCANS = _bound("folder of images", "scans of one JPEG, each of which is decoded over all pixels", 100, "scans")

ARRAYS_MEMBERS = _bound("file of arrays (.npz)", "members", 1_000, "members")
ARRAYS_HEADER_BYTES = _bound("file of arrays (.npz)", "header of an array", 10 * KIB, "bytes")
ARRAYS_DIMENSIONS = _bound("file of arrays (.npz)", "dimensions of an array", 8, "dimensions")
ARRAYS_BYTES = _bound("file of arrays (.npz)", "one array", 256 * GIB, "bytes")
ARRAYS_SAMPLE_BYTES = _bound("file of arrays (.npz)", "one sample", 256 * MIB, "bytes")
# Deflate compresses by a factor of 1,032 at most.
ARRAYS_EXPANSION = _bound("file of arrays (.npz)", "declared bytes for every compressed byte", 1_100, "times")

EXPERIMENT_BYTES = _bound("experiment", "the file", 256 * KIB, "bytes")
EXPERIMENT_DEPTH = _bound("experiment", "lists and mappings inside each other", 30, "levels")
EXPERIMENT_VALUES = _bound("experiment", "keys and values, aliases followed", 20_000, "values")
EXPERIMENT_ITEMS = _bound("experiment", "entries of one list or mapping", 2_000, "entries")
EXPERIMENT_ALIASES = _bound("experiment", "aliases (*name)", 100, "aliases")
EXPERIMENT_KEY = _bound("experiment", "a key", 200, "characters")
EXPERIMENT_TEXT = _bound("experiment", "a text", 4_000, "characters")
EXPERIMENT_RUNS = _bound("experiment", "runs, all devices and replicates", 100_000, "runs")

WALL_METER_BYTES = _bound("wall-meter file", "the file", 96 * MIB, "bytes")
WALL_METER_LINE = _bound("wall-meter file", "a line", 4_000, "characters")
WALL_METER_COLUMNS = _bound("wall-meter file", "columns", 100, "columns")
WALL_METER_READINGS = _bound("wall-meter file", "readings", 2_000_000, "readings")

BUNDLE_FILE_BYTES = _bound("bundle", "the file", 256 * MIB, "bytes")
BUNDLE_FILES = _bound("bundle", "files in it", 100_000, "files")
BUNDLE_MEMBER_BYTES = _bound("bundle", "one file in it", 32 * MIB, "bytes")
BUNDLE_UNPACKED_BYTES = _bound("bundle", "all files in it", 1 * GIB, "bytes")
BUNDLE_NAME = _bound("bundle", "name of a file in it", 400, "characters")
SERIES_BYTES = _bound("series of readings", "text of one run", 16 * MIB, "bytes")
BUNDLE_SERIES_BYTES = _bound("bundle", "all series of readings in it", 128 * MIB, "bytes")
BUNDLE_LOG_BYTES = _bound("bundle", "the end of a log", 256 * KIB, "bytes")
# Counted before the JSON is parsed, since parsing takes many times its size in memory.
JSON_CONTAINERS = _bound("record or table of contents", "objects and lists", 700_000, "objects and lists")
JSON_VALUES = _bound("record or table of contents", "values", 2_000_000, "values")
RECORD_EPOCHS = _bound("record of another machine", "epochs of all attempts", 100_000, "epochs")
RECORD_ATTEMPTS = _bound("record of another machine", "attempts", 50, "attempts")
RECORD_LOG_LINES = _bound("record of another machine", "lines of a failure's log", 200, "lines")
RECORD_TEXT = _bound("record of another machine", "a text", 5_000, "characters")
RECORD_KEYS = _bound("record of another machine", "keys of one object", 200, "keys")
PROBE_ROWS = _bound("probe of another machine", "rows of outputs", 1_024, "rows")
PROBE_VALUES = _bound("probe of another machine", "outputs and losses", 1_100_000, "values")


def table() -> list[tuple[str, str, str]]:
    """The limits as rows (reader, what, value as text), in the order above."""
    return [(bound.reader, bound.what, bound.text()) for bound in TABLE]
