import functools
import io
import time
import zipfile

import numpy as np
import pytest

from routestat import RoutestatError, fit_chain
from routestat.forecast.factorised import FactorisedChain
from routestat.inference.markov.prediction import predict_ahead
from routestat.inference.markov.second_order import fit_second_order
from routestat.study.chain_file import load_chain, load_factorised, save_chain

ARRAYS = ("contexts", "starts", "targets", "counts", "base")


@functools.cache
def fitted(alpha="hierarchical"):
    """Pairs of four experts (6 states) in three layers, single experts of three in the last; orders 1, 2, 0."""
    rng = np.random.default_rng(0)
    cube = rng.poisson(rng.gamma(0.2, 10, (6, 6, 6)))
    tables = [cube.sum(axis=2), cube.sum(axis=0), rng.poisson(4, (6, 3))]
    return fit_chain(
        cube.sum(axis=(1, 2)),
        tables,
        alpha,
        layers=[1, 2, 4, 7],
        n_experts=[4, 4, 4, 3],
        top_k=[2, 2, 2, 1],
        second=[None, fit_second_order(cube, alpha), None],
        orders=[1, 2, 0],
        design_effects=[1.5, 7.25, 1.0],
    )


def experts():
    """A chain of experts, 2 of 3 and then 1 of 4, and its factorised form after leaving out six folds."""
    rng = np.random.default_rng(1)
    chain = fit_chain(
        [4, 4, 4], [np.full((3, 4), 3)], 0.5, layers=[0, 1], n_experts=[3, 4], top_k=[2, 1], states="expert"
    )
    shapes = {(0, 0): (0, 3), (1, 0): (0, 4), (1, 1): (3, 4)}
    return chain, FactorisedChain(
        (0, 1),
        (3, 4),
        (2, 1),
        {key: rng.normal(size=(7, width)).astype(np.float32) for key, (_, width) in shapes.items()},
        {key: rng.normal(size=(7, *shape)).astype(np.float32) for key, shape in shapes.items()},
        np.array([5, 7, 6, 5, 8, 4]),
    )


def same(one, other):
    plain = ("states", "layers", "n_experts", "top_k", "alpha", "orders", "design_effects")
    assert [getattr(one, name) for name in plain] == [getattr(other, name) for name in plain]
    for a, b in zip(
        (one.first, *one.counts, *one.priors), (other.first, *other.counts, *other.priors), strict=True
    ):
        assert np.array_equal(a, b)
        assert a.dtype == b.dtype
    for a, b in zip(one.second, other.second, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ARRAYS)
            assert (a.fitted, a.n_befores) == (b.fitted, b.n_befores)


@pytest.fixture
def path(tmp_path):
    save_chain(fitted(), tmp_path / "chain.npz")
    return tmp_path / "chain.npz"


def arrays_of(path):
    with np.load(path) as saved:
        return dict(saved)


@pytest.mark.parametrize("alpha", ["hierarchical", "empirical-bayes", "jeffreys", 0.3, 1e-7])
def test_a_chain_comes_back_whole(tmp_path, alpha):
    chain = fitted(alpha)
    save_chain(chain, tmp_path / "c.npz")
    again = load_chain(tmp_path / "c.npz")
    same(chain, again)
    assert load_factorised(tmp_path / "c.npz") is None
    found, wanted = (
        predict_ahead(c, 1, [2], ahead=3, rng=np.random.default_rng(0), draws=20) for c in (again, chain)
    )
    assert np.array_equal(found.low, wanted.low)
    for array in (again.first, *again.counts, *again.priors, again.second[1].base):
        assert not array.flags.writeable
    assert [file.name for file in tmp_path.iterdir()] == ["c.npz"]


def test_a_single_layer_comes_back(tmp_path):
    chain = fit_chain([3, 0, 1], [], 0.5, layers=[9], n_experts=[3], top_k=[1])
    save_chain(chain, tmp_path / "c.npz")
    same(chain, load_chain(tmp_path / "c.npz"))


def test_the_same_chain_is_the_same_file(path, tmp_path):
    save_chain(fitted(), tmp_path / "again.npz")
    assert path.read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_a_chain_of_version_1_is_of_order_1_and_its_tokens_were_taken_as_independent(path, tmp_path):
    kept = ("version", "states", "alpha", "layers", "n_experts", "top_k", "first", "prior_first")
    old = {
        name: array
        for name, array in arrays_of(path).items()
        if name in kept or name.startswith(("counts_", "prior_0"))
    }
    np.savez_compressed(tmp_path / "old.npz", **old | {"version": np.array(1), "alpha": np.array("0.25")})
    again = load_chain(tmp_path / "old.npz")
    assert (again.orders, again.design_effects, again.second) == ((1, 1, 1), (1.0, 1.0, 1.0), (None,) * 3)
    assert again.alpha == 0.25
    assert np.array_equal(again.counts[1], fitted().counts[1])


def test_the_factorised_chain_lies_beside_the_chain_of_experts(tmp_path):
    chain, factorised = experts()
    save_chain(chain, tmp_path / "c.npz", factorised)
    same(chain, load_chain(tmp_path / "c.npz"))
    again = load_factorised(tmp_path / "c.npz")
    assert (again.layers, again.n_experts, again.top_k) == ((0, 1), (3, 4), (2, 1))
    assert again.fold_tokens.tolist() == [5, 7, 6, 5, 8, 4]
    for kind in ("bias", "weights"):
        one, other = getattr(factorised, kind), getattr(again, kind)
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one)
    found, wanted = (c.predict(0, [0, 2]) for c in (again, factorised))
    assert np.array_equal(found.low, wanted.low)


def refusal(path):
    """The one line of a refusal, which names the file."""
    try:
        load_chain(path)
        load_factorised(path)
    except RoutestatError as error:
        line = str(error)
    else:
        pytest.fail("it was loaded")
    assert line.startswith(f"{path}: not a chain that analyze saved (")
    assert "\n" not in line
    return line


def change(**arrays):
    return lambda saved: saved | {name: np.asarray(array) for name, array in arrays.items()}


def edit(name, at, value):
    def do(saved):
        array = saved[name].copy()
        array[at] = value
        return saved | {name: array}

    return do


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (change(version=4), "chain version 4, this routestat reads 1 to 3"),
        (change(states="words"), "expected subset or expert, got 'words'"),
        (change(states="expert"), "2 only where states are subsets"),
        (change(states="expert", orders=[1, 1, 1]), "prior_first: expected shape 4, got"),
        (change(states=[1, 2]), "states: expected shape one value"),
        (change(states=1), "states: expected a word, got int64"),
        (change(alpha="flat"), "alpha"),
        (change(alpha="-1"), "alpha"),
        (change(layers=[1, 2, 4]), "n_experts: expected shape 3"),
        (change(layers=[1, 4, 2, 7]), "in the order of depth"),
        (change(layers=[-1, 2, 4, 7]), "layers: expected counts of zero or more"),
        (change(layers=np.array([1, 2, 4, 7.0])), "layers: expected whole numbers, got float64"),
        (change(layers=[1, 2, 4, 1 << 40]), "layer"),
        (change(n_experts=[4, 4, 4, 0]), "n_experts"),
        (change(n_experts=[5, 4, 4, 3]), "prior_first: expected shape 10, got"),
        (change(top_k=[5, 2, 2, 1]), "top_k"),
        (change(n_experts=[400] * 4), "tables of states end at 16,384"),
        (change(orders=[1, 2]), "orders: expected shape 3"),
        (change(orders=[1, 3, 0]), "orders: expected 0 to 2"),
        (change(orders=[1, 2, 2]), "gap 2 is of order 2, but second_002_contexts is missing"),
        (change(design_effects=[1.0, 0.5, 1.0]), "design_effects: expected numbers from 1 to"),
        (change(design_effects=[1.0, np.nan, 1.0]), "design_effects"),
        (change(design_effects=[1.0, np.inf, 1.0]), "design_effects"),
        (change(first=[1, 2, 3]), "first: expected shape 6"),
        (change(first=np.full(6, 1 << 60)), "first: expected counts up to"),
        (edit("first", 0, -1), "first: expected counts of zero or more"),
        (edit("counts_001", (2, 2), -5), "counts_001: expected counts of zero or more"),
        (change(counts_002=np.ones((6, 4), int)), "counts_002: expected shape 6×3"),
        (change(counts_000=np.ones((6, 6))), "counts_000: expected whole numbers, got float64"),
        (change(counts_000=np.ones((6, 6), complex)), "counts_000: expected whole numbers, got complex"),
        (change(counts_000=np.full((6, 6), "x")), "counts_000: expected whole numbers"),
        (change(counts_000=np.full((6, 6), None)), "counts_000: expected whole numbers, got object"),
        (change(first=np.array([{}] * 6)), "first: expected whole numbers, got object"),
        (edit("prior_000", 0, 0.0), "alpha: expected numbers above zero"),
        (edit("prior_000", 0, -1.0), "prior_000"),
        (edit("prior_first", 3, np.nan), "prior_first"),
        (edit("second_001_contexts", 0, 99), "second_001_contexts: expected rising"),
        (edit("second_001_contexts", -1, 36), "second_001_contexts: expected rising ones below 36"),
        (edit("second_001_starts", 1, 0), "second_001_starts: expected rising places"),
        (edit("second_001_starts", -1, 10**6), "second_001_starts: expected rising places"),
        (edit("second_001_targets", 0, 6), "second_001_targets: expected each below 6 and once"),
        (edit("second_001_counts", 0, 0), "second_001_targets"),
        (change(second_001_counts=[1]), "second_001_counts: expected shape"),
        (edit("second_001_base", (0, 0), 0.0), "second_001_base"),
        (edit("second_001_base", (0, 0), 0.9), "its base is not a distribution"),
        (edit("second_001_fitted", 0, 0.0), "no back-off"),
        (edit("second_001_fitted", 1, 1.0), "no back-off"),
        (lambda saved: saved | {"second_000_contexts": saved["second_001_contexts"]}, "gap 0 cannot have"),
        (change(factorised_fold_tokens=[3]), "this one's states are subsets"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(path, do, message):
    np.savez(path, **do(arrays_of(path)))
    assert message in refusal(path)


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (edit("factorised_bias_001_1", (0, 0), np.nan), "factorised_bias_001_1"),
        (change(factorised_bias_001_1=np.ones((3, 3))), "factorised_bias_001_1: expected shape 7×4"),
        (change(factorised_weights_001_1=np.ones((3, 4, 4))), "factorised_weights_001_1: expected shape 7×3×4"),
        (change(factorised_bias_001_2=np.ones((3, 4))), "fewer layers before it"),
        (change(factorised_bias_002_0=np.ones((3, 4))), "no such layer"),
        (change(factorised_fold_tokens=[-1, 4]), "factorised_fold_tokens"),
        (change(orders=[2]), "2 only where states are subsets"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_of_a_factorised_chain_is_named(tmp_path, do, message):
    path = tmp_path / "c.npz"
    save_chain(*(experts()[0], path, experts()[1]))
    np.savez(path, **do(arrays_of(path)))
    assert message in refusal(path)


def test_every_array_is_missed(path):
    whole = arrays_of(path)
    for name in whole:
        np.savez(path, **{key: array for key, array in whole.items() if key != name})
        if name == "second_001_contexts":
            assert "gap 1 is of order 2" in refusal(path)
        else:
            assert f"{name} is missing" in refusal(path)


def test_every_wrong_kind_is_refused(path):
    whole = arrays_of(path)
    for name, array in whole.items():
        for other in (np.array(object()), array.astype("S8"), array[..., None], np.full(array.shape, 1j)):
            np.savez(path, **whole | {name: other})
            refusal(path)


def test_flipped_bytes_change_nothing_or_are_refused(path):
    content, chain = path.read_bytes(), load_chain(path)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(500):
        broken = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            broken[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(broken))
        try:
            again = load_chain(path)
        except RoutestatError as error:
            assert str(path) in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
        else:
            same(chain, again)  # dates and the like
    assert refused > 300


def test_any_number_changed_in_a_sound_file_gives_a_chain_that_answers_or_a_refusal(path):
    whole, rng, loaded = arrays_of(path), np.random.default_rng(1), 0
    names = [name for name, array in whole.items() if array.dtype.kind in "if" and name != "layers"]
    values = [0, 1, -1, 2, 5, 6, 255, 1 << 31, 1 << 62, -(1 << 63), 0.5, 1e-300, 1e300, np.nan, -np.inf]
    for _ in range(300):
        array = whole[name := str(rng.choice(names))].copy()
        with np.errstate(invalid="ignore", over="ignore"):
            value = np.array(values[rng.integers(len(values))]).astype(array.dtype)
        array.reshape(-1)[rng.integers(array.size)] = value
        np.savez(path, **whole | {name: array})
        try:
            chain = load_chain(path)
        except RoutestatError:
            continue
        found = predict_ahead(chain, chain.layers[1], [0, 3], ahead=2, rng=rng, draws=3)
        assert found.probability.sum() == pytest.approx(1)
        assert np.isfinite([found.low, found.high]).all()
        loaded += 1
    assert 20 < loaded < 200


def test_cut_files_and_files_of_something_else_are_refused(path):
    content = path.read_bytes()
    for length in (*range(0, 60), *range(60, len(content), 97)):
        path.write_bytes(content[:length])
        refusal(path)
    for other in (b"PK\x03\x04rubbish", b"text", b"\x93NUMPY\x01\x00", bytes(1000)):
        path.write_bytes(other)
        refusal(path)
    path.unlink()
    with pytest.raises(RoutestatError, match="no such file"):
        load_chain(path)
    path.mkdir()
    refusal(path)


def member(content, name, raw):
    """The archive with one member replaced by raw bytes."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        for item in old.namelist():
            new.writestr(item, raw if item == name else old.read(item))
    return changed.getvalue()


def npy(header, data=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<i8', 'fortran_order': False, 'shape': (9999999999999,)}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (6,)}",  # and no data
        "{'descr': '<i8', 'fortran_order': False, 'shape': (-6,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (6,)}",
        "{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (6,)}",
        "{'descr': '<U999999999', 'fortran_order': False, 'shape': (6,)}",
        "__import__('os').system('false')",
        "(" * 200,
        "",
        "\x00\xff",
    ],
)
def test_hostile_members_are_refused_before_they_are_unpacked(path, header):
    content = path.read_bytes()
    for name in ("first.npy", "layers.npy", "states.npy", "second_001_contexts.npy"):
        path.write_bytes(member(content, name, npy(header)))
        started = time.perf_counter()
        refusal(path)
        assert time.perf_counter() - started < 1
    path.write_bytes(member(content, "first.npy", b"\x80\x04cos\nsystem\n(S'false'\ntR."))
    refusal(path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(path, monkeypatch):
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="No space"):
        save_chain(fitted(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_fitted_weights_are_stored_as_they_are_and_tables_of_zeros_are_not(tmp_path):
    chain, factorised = experts()
    save_chain(chain, tmp_path / "c.npz", factorised)
    with zipfile.ZipFile(tmp_path / "c.npz") as archive:
        stored = {member.filename for member in archive.infolist() if not member.compress_type}
    assert stored == {
        f"factorised_{kind}_00{place}_{order}.npy"
        for place, order in factorised.bias
        for kind in ("bias", "weights")
    }
