"""Checkpoints: what is saved comes back to the last bit; what is damaged, hostile or foreign is one error and changes
nothing; who is killed while saving leaves the old file or the new one."""

import io
import json
import os
import stat
import struct
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import checkpoints
from tinygraph.checkpoints import CheckpointError, load, read, save
from tinygraph.states import states

KINDS = ["npz", "safetensors"]
DTYPES = [np.float64, np.float32, np.float16, np.complex64, np.int64, np.uint64, np.int8, np.bool_]

kinds = pytest.mark.parametrize("kind", KINDS)


class Model:
    """States of all kinds and shapes, one of them under two names."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.weight = tg.Parameter(rng.normal(size=(3, 2)).T)  # not contiguous
        self.tied = self.weight
        self.layers = [{"b": tg.Parameter(rng.normal(size=3).astype(np.float32))}, tg.Stream(seed)]
        self.steps = tg.State(np.array(seed))
        self.empty = tg.State(np.zeros((0, 3)))
        self.more = tuple(tg.State((100 * rng.normal(size=2)).astype(dtype)) for dtype in DTYPES)


def values(*things):
    return [state.value.tobytes() for thing in things for state in states(thing).values()]


@pytest.fixture
def saved(kind, tmp_path):
    path = tmp_path / f"model.{kind}"
    save(path, model=Model(1), metadata={"note": "ü", "n": [1, 2.5, None]})
    return path


# ---- what is saved comes back


@kinds
def test_round_trip(kind, saved):
    model = Model(2)
    assert load(saved, model=model) == {"note": "ü", "n": [1, 2.5, None]}
    assert values(model) == values(Model(1))


@kinds
def test_read_needs_no_model(kind, saved):
    checkpoint = read(saved)
    assert checkpoint.metadata == {"note": "ü", "n": [1, 2.5, None]}
    assert set(checkpoint.arrays) == {"model." + path for path in states(Model())}
    assert np.array_equal(checkpoint.arrays["model.weight"], Model(1).weight.value)
    assert not any(array.flags.writeable for array in checkpoint.arrays.values())
    model = Model(2)
    load(checkpoint, model=model)
    assert values(model) == values(Model(1))


@kinds
def test_special_numbers_keep_their_bits(kind, tmp_path):
    bits = np.array([0x7FF8000000000001, 0xFFF0000000000000, 0x8000000000000000, 1, 0x7FF0000000000123], np.uint64)
    x = tg.State(bits.view(float))
    save(tmp_path / f"x.{kind}", x=x)
    x.value = np.zeros(5)
    load(tmp_path / f"x.{kind}", x=x)
    assert np.array_equal(x.value.view(np.uint64), bits)


@kinds
def test_the_same_states_are_the_same_file(kind, tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.{kind}", model=Model(1), metadata={"a": 1})
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@kinds
def test_a_thing_is_loaded_without_the_others(kind, tmp_path):
    """The optimizer holds the parameters too; they are in the file once, and under either path."""
    path, model = tmp_path / f"x.{kind}", Model(1)
    optimizer = {"parameters": [model.weight], "moment": tg.State(np.ones(3))}
    save(path, model=model, optimizer=optimizer)
    small = tmp_path / f"small.{kind}"
    save(small, model=model)
    assert path.stat().st_size < small.stat().st_size + 1000
    alone, apart = Model(2), {"parameters": [tg.Parameter(np.zeros((2, 3)))], "moment": tg.State(np.zeros(3))}
    load(path, model=alone)
    assert values(alone) == values(model)
    load(path, optimizer=apart)
    assert values(apart) == values(optimizer)


def test_both_kinds_open_elsewhere(tmp_path):
    from safetensors.numpy import load_file

    for kind in KINDS:
        save(tmp_path / f"x.{kind}", model=Model(1))
    with np.load(tmp_path / "x.npz") as archive:
        assert np.array_equal(archive["model.weight"], Model(1).weight.value)
    assert np.array_equal(load_file(tmp_path / "x.safetensors")["model.weight"], Model(1).weight.value)


# ---- what does not fit changes nothing


def changed(**changes):
    model = Model(2)
    for name, value in changes.items():
        setattr(model, name, value)
    return model


@kinds
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (changed(extra=tg.State(np.ones(2))), "does not fit: it has no model.extra"),
        (changed(steps=None), "does not fit: there is no place for model.steps"),
        (changed(more=()), "does not fit: there is no place for .* and 5 more"),
        (changed(steps=tg.State(np.zeros(2, int))), r"model.steps is \(\) int64 there and \(2,\) int64 here"),
        (changed(empty=tg.State(np.zeros((0, 3), np.float32))), r"model.empty is .* float64 there and .* float32 here"),
    ],
    ids=["missing", "unexpected", "many", "shape", "dtype"],
)
def test_another_model(kind, saved, model, message):
    before = values(model)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(saved, model=model)
    assert str(saved) in str(caught.value)
    assert values(model) == before


def test_shared_here_and_not_there(tmp_path):
    save(tmp_path / "x.npz", a=[tg.State(1.0)], b=[tg.State(2.0)])
    state = tg.State(0.0)
    with pytest.raises(CheckpointError, match=r"a\.0 and b\.0 are one state here and differ there"):
        load(tmp_path / "x.npz", a=[state], b=[state])
    assert state.value == 0.0


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda path: save(path / "x.pt", model=Model()), ValueError, "ends with .npz or .safetensors"),
        (lambda path: read(path / "x"), ValueError, "ends with .npz or .safetensors"),
        (lambda path: save(path / "x.npz"), TypeError, "model=..., optimizer=..."),
        (lambda path: save(path / "x.npz", model=np.ones(3)), TypeError, "model=ndarray holds no state"),
        (lambda path: save(path / "x.npz", model=Model(), metadata={"a": np.ones(3)}), TypeError, "metadata must be"),
        (lambda path: save(path / "x.npz", model={"a\0b": tg.State(1.0)}), ValueError, "cannot hold the name"),
        (lambda path: save(path / "x.safetensors", z=tg.State(1j)), TypeError, "cannot hold .*complex128: use .npz"),
        (lambda path: save(path / "no" / "x.npz", model=Model()), FileNotFoundError, "there is no folder .*no to"),
        (lambda path: read(path / "x.npz"), FileNotFoundError, "x.npz"),
    ],
    ids=["suffix", "no suffix", "nothing", "no state", "metadata", "name", "complex128", "no folder", "no file"],
)
def test_what_cannot_be_saved_or_read(tmp_path, call, kind, message):
    with pytest.raises(kind, match=message):
        call(tmp_path)
    assert not os.listdir(tmp_path)


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e .\.\[safetensors\]., or use .npz"):
        save(tmp_path / "x.safetensors", model=Model())


# ---- damage


WHOLE = {}


def whole(kind, folder):
    """The bytes of a checkpoint, made once."""
    if kind not in WHOLE:
        save(folder / f"x.{kind}", model=Model(1), metadata={"a": 1})
        WHOLE[kind] = (folder / f"x.{kind}").read_bytes()
    return WHOLE[kind]


def exact_or_refused(kind, data, folder):
    """Whether the damaged bytes were refused; what is not refused must be exact."""
    path, model = folder / f"damaged.{kind}", Model(2)
    path.write_bytes(data)
    before = values(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of a header of Python 2
            metadata = load(path, model=model)
    except CheckpointError:
        assert values(model) == before
        return True
    assert (values(model), metadata) == (values(Model(1)), {"a": 1})
    return False


@kinds
@given(data=st.data())
def test_flipped_bytes(kind, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(whole(kind, folder))
    places = data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4, unique=True))
    for place in places:
        content[place] ^= data.draw(st.integers(1, 255))
    exact_or_refused(kind, bytes(content), folder)


@kinds
@given(data=st.data())
def test_cut_off_or_grown(kind, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    content = whole(kind, folder)
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    assert stop - start == len(content) or exact_or_refused(kind, content[start:stop], folder)
    exact_or_refused(kind, content[:start] + data.draw(st.binary(max_size=20)) + content[stop:], folder)


@kinds
def test_every_bit_of_the_numbers_counts(kind, tmp_path):
    content = whole(kind, tmp_path)
    place = content.index(Model(1).weight.value.tobytes())
    for bit in range(0, 48 * 8, 7):
        damaged = bytearray(content)
        damaged[place + bit // 8] ^= 1 << bit % 8
        assert exact_or_refused(kind, bytes(damaged), tmp_path)


@kinds
def test_names_count(kind, tmp_path):
    path = tmp_path / f"x.{kind}"
    save(path, model={"one": tg.State(1.0), "two": tg.State(2.0)})
    path.write_bytes(path.read_bytes().replace(b"model.two", b"model.twp"))
    with pytest.raises(CheckpointError, match="does not fit its digest"):
        read(path)


# ---- hostile files


def npz(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", members.pop("compression", zipfile.ZIP_STORED)) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def npy(header, data=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def with_array(member):
    return npz(**{"tinygraph.json": '{"content": "{}", "digest": ""}', "model.weight.npy": member})


def pickled():
    file = io.BytesIO()
    np.lib.format.write_array(file, np.array([Model], object), allow_pickle=True)
    return file.getvalue()


def tensors(header, data=b"", length=None):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(*offsets, shape=(1,), dtype="F64"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HOSTILE = {
    "empty.npz": b"",
    "text.npz": b"not a zip file",
    "no header.npz": npz(**{"w.npy": npy("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", bytes(8))}),
    "bomb.npz": npz(**{"tinygraph.json": bytes(10**6), "compression": zipfile.ZIP_DEFLATED}),
    "deep.npz": npz(**{"tinygraph.json": "[" * 10**5}),
    "huge shape.npz": with_array(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,)}")),
    "overflow.npz": with_array(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4)}")),
    "negative.npz": with_array(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -3)}", bytes(48))),
    "objects.npz": with_array(pickled()),
    "records.npz": with_array(npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}", bytes(8))),
    "code.npz": with_array(npy("__import__('os').abort()")),
    "path.npz": npz(**{"tinygraph.json": '{"content": "{}", "digest": ""}', "../../escaped.npy": b""}),
    "empty.safetensors": b"",
    "huge header.safetensors": tensors({}, length=2**63 - 1),
    "long header.safetensors": tensors({}, length=10**9),
    "deep.safetensors": tensors(b'{"a":' * 10**5),
    "foreign.safetensors": tensors({"model.weight": tensor(0, 8)}, bytes(8)),
    "overlapping.safetensors": tensors({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12)),
    "outside.safetensors": tensors({"a": tensor(0, 2**40)}, bytes(8)),
    "absurd shape.safetensors": tensors({"a": tensor(0, 8, shape=(2**62, 4))}, bytes(8)),
    "other dtype.safetensors": tensors({"a": tensor(0, 8, dtype="PICKLE")}, bytes(8)),
    "no texts.safetensors": tensors({"a": tensor(0, 8), "__metadata__": {"tinygraph": "[1]"}}, bytes(8)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name, tmp_path):
    path, model = tmp_path / name, Model(2)
    path.write_bytes(HOSTILE[name])
    before = values(model)
    with pytest.raises(CheckpointError, match="is no whole checkpoint of tinygraph: ") as caught:
        load(path, model=model)
    assert "\n" not in str(caught.value)
    assert values(model) == before
    assert os.listdir(tmp_path) == [name]


def test_what_is_packed_is_not_unpacked(tmp_path):
    """Ten kilobytes could become ten gigabytes."""
    with zipfile.ZipFile(io.BytesIO(whole("npz", tmp_path))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (tmp_path / "x.npz").write_bytes(npz(**members, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointError, match="is packed"):
        read(tmp_path / "x.npz")


def test_one_member_under_many_names_is_not_read_again_and_again(tmp_path):
    """A hundred entries of the directory for the same megabyte."""
    member = b"0" * 10**6
    data = npz(**{"tinygraph.json": "{}", "a.npy": member})
    start = data.index(b"PK\x01\x02")
    entry = data.index(b"PK\x01\x02", start + 1)
    end = data.index(b"PK\x05\x06")
    many = data[start:entry] + data[entry:end] * 100
    tail = bytearray(data[end:])
    struct.pack_into("<HHI", tail, 8, 101, 101, len(many))
    (tmp_path / "x.npz").write_bytes(data[:start] + many + tail)
    with pytest.raises(CheckpointError, match="more than the file is long"):
        read(tmp_path / "x.npz")


@kinds
@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 2, "aliases": {}, "metadata": {}}',
                                     '{"format": 1, "aliases": {"a": "b"}, "metadata": {}}',
                                     '{"format": 1, "aliases": {}, "metadata": 3}'])
def test_a_right_digest_proves_nothing(kind, tmp_path, content):
    path = tmp_path / f"x.{kind}"
    header = json.dumps({"content": content, "digest": checkpoints._digest({}, content)})
    path.write_bytes(checkpoints._writer(path)({}, header))
    with pytest.raises(CheckpointError, match="is no whole checkpoint of tinygraph"):
        read(path)


# ---- writing


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_permissions_and_links_stay(tmp_path):
    real, link = tmp_path / "real.npz", tmp_path / "link.npz"
    umask = os.umask(0o027)
    try:
        save(real, model=Model(1))
    finally:
        os.umask(umask)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    real.chmod(0o604)
    link.symlink_to("real.npz")
    save(link, model=Model(2))
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o604
    assert np.array_equal(read(real).arrays["model.weight"], Model(2).weight.value)


def test_an_error_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    save(path, model=Model(1))
    content = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(path, model=Model(2))
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["x.npz"]


KILLING = """
import os, random, signal, sys, time
import numpy as np
import tinygraph as tg

path, dice, writing = sys.argv[1], random.Random(0), 0
states = [tg.State(np.full(50_000, -1.0)) for _ in range(3)]
started = time.perf_counter()
tg.checkpoints.save(path, model=states, metadata={"i": -1})
once, seen = min(time.perf_counter() - started, 0.02), [-1]
for _ in range(40):
    if time.perf_counter() > started + 2 and writing and len(set(seen)) > 1:
        break
    begun, tell = os.pipe()
    child = os.fork()
    if not child:
        for i in range(seen[-1] + 1, 10**9):
            for state in states:
                state.value = np.full(50_000, float(i))
            os.write(tell, b".")
            tg.checkpoints.save(path, model=states, metadata={"i": i})
    os.read(begun, 1)
    time.sleep(dice.uniform(0, 2 * once))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(begun), os.close(tell)
    checkpoint = tg.checkpoints.read(path)
    seen.append(checkpoint.metadata["i"])
    assert all((array == seen[-1]).all() for array in checkpoint.arrays.values())
    for name in os.listdir(os.path.dirname(path)):
        if name.endswith(".part"):
            os.remove(os.path.join(os.path.dirname(path), name))
            writing += 1
assert seen == sorted(seen), seen
assert len(set(seen)) > 1, "each was killed before it had saved"
assert writing, "none was killed while it wrote"
"""


@kinds
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_while_saving(kind, tmp_path):
    """Whenever a process dies, the file is whole, and all of one save."""
    done = subprocess.run([sys.executable, "-c", KILLING, str(tmp_path / f"x.{kind}")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_name_with_a_dot_could_be_that_of_a_part(tmp_path):
    things = {"a": {"b": tg.State(np.ones(2))}, "a.b": tg.State(np.zeros(2))}
    with pytest.raises(ValueError, match=r"'a\.b' could be"):
        checkpoints.save(tmp_path / "both.npz", **things)


def test_an_array_of_another_shape_does_not_fit(tmp_path):
    checkpoints.save(tmp_path / "m.npz", model=tg.State(np.zeros((2, 3))))
    with pytest.raises(checkpoints.CheckpointError, match=r"model is \(2, 3\) float64 there and \(3, 2\)"):
        checkpoints.load(tmp_path / "m.npz", model=tg.State(np.zeros((3, 2))))
