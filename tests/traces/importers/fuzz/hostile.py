"""Files made to do harm: sizes that are not there, depth, doubled names, code; all must end in one line or a note.

Each function takes a generator and the file and replaces it; it returns what it did, or None where the kind of file
does not allow it. A file `CANARY` in the working folder would prove that something in a file was executed.
"""

import io
import json
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch

from tests.traces.importers.fuzz.change import ANY, Change

CANARY = "executed"
JSON = (".json", ".jsonl")


class Boom:
    """What pickle would rebuild by opening a file for writing."""

    def __reduce__(self):
        return (open, (CANARY, "w"))


def npy_of(array: np.ndarray) -> bytes:
    """An ``.npy``, with a pickle where the array holds objects."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _said(words: str) -> Change:
    return Change(ANY, words)


def huge_header(rng, file):
    """An array's header claims more than any machine has."""
    if file.suffix not in (".npy", ".npz"):
        return None
    shape = [(1 << 40, 3, 2), (1 << 33, 1 << 33, 2), (0, 1 << 62, 2), (1 << 29, 3, 2)][int(rng.integers(4))]
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<i4", "fortran_order": False, "shape": shape})
    content = head.getvalue() + bytes(64)
    if file.suffix == ".npy":
        file.write_bytes(content)
        return _said(str(shape))
    with zipfile.ZipFile(file) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    held[sorted(held)[int(rng.integers(len(held)))]] = content
    _archive(file, held)
    return _said(str(shape))


def _archive(file: Path, held: dict[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in held.items():
            archive.writestr(name, content)


def odd_header(rng, file):
    """An array's header that is no header: a negative axis, a nested type, code where a dictionary belongs."""
    if file.suffix not in (".npy", ".npz"):
        return None
    headers = [
        "{'descr': '<i4', 'fortran_order': False, 'shape': (-1, 3, 2), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        f"{{'descr': open({CANARY!r}, 'w'), 'fortran_order': False, 'shape': (1,), }}",
        "{'descr': [('a', '<i4'), ('b', '<f8', (3,))], 'fortran_order': False, 'shape': (2,), }",
        "(" * 3000,
        "{'descr': '<i4', 'fortran_order': False, 'shape': (1" + "0" * 5000 + ",), }",
    ]
    text = headers[int(rng.integers(len(headers)))].encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(48)
    if file.suffix == ".npy":
        file.write_bytes(content)
    else:
        with zipfile.ZipFile(file) as archive:
            held = {name: archive.read(name) for name in archive.namelist()}
        held[sorted(held)[int(rng.integers(len(held)))]] = content
        _archive(file, held)
    return _said(text[:60].decode())


def bomb(rng, file):
    """A member that unpacks to a thousand times its size."""
    if file.suffix != ".npz":
        return None
    content = npy_of(np.zeros((4 << 20, 3, 2), np.int8))
    with zipfile.ZipFile(file) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    held[sorted(held)[int(rng.integers(len(held)))]] = content
    _archive(file, held)
    return _said("24 MiB of zeros")


def members_doubled(rng, file):
    """An archive with a member twice, or with paths outside."""
    if file.suffix not in (".npz", ".pt"):
        return None
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        content = archive.read(names[0])
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(names[0] if rng.random() < 0.5 else "../../" + names[0], content)
    return _said(names[0])


def code_in_pickle(rng, file):
    """A pickle that would write a file, by itself or inside an array, an archive or a tensor file."""
    payload = pickle.dumps({"records": [Boom()], "samples": [Boom()], "rollout_routed_experts": Boom()})
    way = int(rng.integers(3))
    if file.suffix == ".npz" or (file.suffix == ".npy" and way):
        array = np.empty((1, 1, 1), object)
        array[0, 0, 0] = Boom()
        content = npy_of(array)
        if file.suffix == ".npy":
            file.write_bytes(content)
            return _said("an array of objects")
        with zipfile.ZipFile(file) as archive:
            held = {name: archive.read(name) for name in archive.namelist()}
        held[sorted(held)[int(rng.integers(len(held)))]] = content
        _archive(file, held)
        return _said("a member of objects")
    if file.suffix == ".pt" and way:
        with zipfile.ZipFile(file) as archive:
            held = {
                name: payload if name.endswith("data.pkl") else archive.read(name)
                for name in archive.namelist()
            }
        _archive(file, held)
        return _said("data.pkl")
    file.write_bytes(payload)
    return _said("a bare pickle")


def odd_tensor(rng, file):
    """A tensor that is sparse, of no NumPy type, without storage, or repeats one number without end."""
    if file.suffix != ".pt":
        return None
    held = torch.load(file, weights_only=True)
    tensors = {
        "sparse": torch.eye(3, dtype=torch.int32).to_sparse(),
        "float8": torch.zeros(3).to(torch.float8_e4m3fn),
        "bfloat16": torch.ones(4, 3, 2, dtype=torch.bfloat16),
        "complex": torch.ones(4, 3, 2, dtype=torch.complex64),
        "endless": torch.zeros(1, dtype=torch.int32).as_strided((1 << 40, 3, 2), (0, 0, 0)),
        "meta": torch.zeros(4, 3, 2, device="meta"),
        "conjugate": torch.ones(4, 3, 2, dtype=torch.complex64).conj(),
        "text": "x" * 3000,
    }
    way = list(tensors)[int(rng.integers(len(tensors)))]
    place = held
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = list(keys)[int(rng.integers(len(keys)))]
        inside = place[key]
        if not isinstance(inside, dict | list) or not inside or key == "tokens":
            break
        place = inside
    place[key] = tensors[way]
    torch.save(held, file)
    return _said(f"{way} at {key}")


def deep(rng, file):
    """JSON nested beyond any reader's depth, as the whole or as a value."""
    if file.suffix not in JSON:
        return None
    n = [200, 5_000, 200_000][int(rng.integers(3))]
    inside = "[" * n + "]" * n if rng.random() < 0.5 else '{"a":' * n + "1" + "}" * n
    if rng.random() < 0.5:
        file.write_text(inside)
    else:
        file.write_text(_with_value(rng, file.read_text(), inside))
    return _said(f"{n} levels")


def odd_number(rng, file):
    """A number of many digits, an exponent beyond all, or a word that is no JSON, in place of a number."""
    if file.suffix not in JSON:
        return None
    word = ["9" * 5000, "1e999", "-1e999", "NaN", "Infinity", "0x10", "01", "1" * 400, "-0", "2147483648"][
        int(rng.integers(10))
    ]
    file.write_text(_with_value(rng, file.read_text(), word))
    return _said(word[:30])


def _with_value(rng: np.random.Generator, text: str, value: str) -> str:
    """The JSON text with another value behind one of its colons."""
    places = [at for at, letter in enumerate(text) if letter == ":"]
    if not places:
        return value
    at = places[int(rng.integers(len(places)))] + 1
    stop = at + 1
    depth, quoted = 0, False
    while stop < len(text):
        letter = text[stop]
        quoted ^= letter == '"'
        if not quoted:
            depth += (letter in "[{") - (letter in "]}")
            if depth < 0 or (depth == 0 and letter in ","):
                break
        stop += 1
    return text[:at] + " " + value + text[stop:]


def keys_doubled(rng, file):
    """An object that has one of its names twice, with two values."""
    if file.suffix not in JSON:
        return None
    text = file.read_text()
    names = [
        name for name in ("id", "routed_experts", "choices", "usage", "layer", "step") if f'"{name}":' in text
    ]
    if not names:
        return None
    name = names[int(rng.integers(len(names)))]
    other = ["null", "0", "[]", '"x"', "{}"][int(rng.integers(5))]
    at = text.index(f'"{name}":')
    file.write_text(text[:at] + f'"{name}": {other}, ' + text[at:])
    return _said(f"{name} twice")


def not_utf8(rng, file):
    """Bytes that are no UTF-8, UTF-16, lone surrogates, zero bytes, in a text."""
    if file.suffix not in (*JSON, ".csv", ".tsv"):
        return None
    content = file.read_bytes()
    at = int(rng.integers(len(content)))
    ways = {
        "a byte": content[:at] + b"\xff" + content[at:],
        "utf-16": content.decode().encode("utf-16"),
        "zeros": content[:at] + bytes(3) + content[at:],
        "latin-1": content.replace(b'"id"', b'"id\xe9"', 1),
        "surrogate": content.replace(b'"r0"', b'"r\\ud800"').replace(b'"c0"', b'"\\udfff"'),
        "long": content.replace(b'"r0"', b'"%s"' % (b"r" * 5000)).replace(b'"c0"', b'"%s"' % (b"c" * 5000)),
        "control": content.replace(b'"r0"', b'"\\u0000\\u001b[31m\\r"').replace(b'"c0"', b'"\\n\\u0000"'),
    }
    words = list(ways)[int(rng.integers(len(ways)))]
    file.write_bytes(ways[words])
    return _said(words)


def huge_claim(rng, file):
    """A field that claims sizes beyond all: shapes, positions, counts."""
    if file.suffix not in JSON:
        return None
    text = file.read_text()
    claims = {
        '"shape": [': ["[4294967296, 4294967296, 2]", "[1099511627776, 3, 2]", "[0, 3, 0]", "[-1, 3, 2]"],
        '"start": ': ["2147483647", "2147483640", "9999999999", "-1"],
        '"prompt_tokens": ': ["2147483647", "1000000000", "0"],
        '"completion_tokens": ': ["2147483647", "0"],
        '"num_tokens": ': ["2147483647", "1000000000"],
        '"topk": ': ["1000000", "2147483647"],
        '"layer": ': ["2147483647", "100000"],
        '"step": ': ["2147483647"],
        '"dtype": ': ['"int64"', '"O"', '"S8"', '"<u2,<u2"', '"bool"', '"uint8\\u0000"', '"datetime64[s]"'],
    }
    there = [name for name in claims if name in text]
    if not there:
        return None
    name = there[int(rng.integers(len(there)))]
    claim = claims[name][int(rng.integers(len(claims[name])))]
    at = text.index(name) + len(name.rstrip("["))
    _, length = json.JSONDecoder().raw_decode(text[at:])
    file.write_text(text[:at] + claim + text[at + length :])
    return _said(f"{name.strip()} {claim}")


def no_file(rng, file):
    """Something that is no file of data: noise, zeros, another format's first bytes."""
    heads = [
        b"",
        b"PK\x03\x04",
        b"\x93NUMPY",
        b"PAR1",
        b"GGUF",
        b"\x80\x02",
        b"{",
        b"[",
        b"\x1f\x8b",
        b"(\xb5/\xfd",
    ]
    head = heads[int(rng.integers(len(heads)))]
    body = [rng.bytes(200), bytes(200), b"[" * 200, b"1,2\n" * 50][int(rng.integers(4))]
    file.write_bytes(head + body)
    return _said(f"{head!r} {body[:4]!r}")


HOSTILE = (
    huge_header,
    odd_header,
    bomb,
    members_doubled,
    code_in_pickle,
    odd_tensor,
    deep,
    odd_number,
    keys_doubled,
    not_utf8,
    huge_claim,
    no_file,
)
