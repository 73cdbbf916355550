"""Renamed: names of fields, members, columns and files are others."""

from tests.traces.importers.fuzz.change import ANY, NAMED, PART, Change
from tests.traces.importers.fuzz.spots import changed_at
from tests.traces.importers.fuzz.trees import TEXT, read_tree, write_tree


def key_misspelt(rng, file):
    """One name is misspelt."""

    def misspell(found):
        name = str(found.key)
        at = int(rng.integers(len(name)))
        ways = [
            name[:at] + name[at + 1 :],
            name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
            name + "s",
            name.upper(),
            name.replace("_", "-"),
            name.replace("_", ""),
            " " + name,
        ]
        fresh = ways[int(rng.integers(len(ways)))]
        if fresh in found.parent:
            return "not at all"
        items = [(fresh if key == found.key else key, value) for key, value in found.parent.items()]
        found.parent.clear()
        found.parent.update(items)
        return f"to {fresh!r}"

    change = changed_at(
        rng, file, lambda s: isinstance(s.parent, dict) and isinstance(s.key, str) and s.key, misspell
    )
    return None if change is None else Change(NAMED, change.words)


def keys_exchanged(rng, file):
    """Two names of one object are exchanged."""

    def exchange(found):
        others = [key for key in found.parent if key != found.key]
        if not others:
            return "not at all"
        other = others[int(rng.integers(len(others)))]
        found.parent[found.key], found.parent[other] = found.parent[other], found.parent[found.key]
        return f"with {other}"

    return changed_at(rng, file, lambda s: isinstance(s.parent, dict), exchange, PART)


def header_misspelt(rng, file):
    """One name of a table of text is misspelt."""
    if file.suffix not in TEXT:
        return None
    rows = read_tree(file)
    at = int(rng.integers(len(rows[0])))
    rows[0][at] = [rows[0][at] + "s", rows[0][at][:-1], rows[0][at].upper(), rows[0][0], ""][
        int(rng.integers(5))
    ]
    write_tree(file, rows)
    return Change(ANY, f"column {at} to {rows[0][at]!r}")


def suffixed(rng, file):
    """The file has the suffix of another format, or none."""
    others = [
        ".json",
        ".jsonl",
        ".npz",
        ".npy",
        ".pt",
        ".parquet",
        ".csv",
        ".bin",
        "",
        ".gguf",
        ".gz",
        ".txt",
    ]
    suffix = others[int(rng.integers(len(others)))]
    return Change(ANY, f"to {suffix!r}", file.rename(file.with_suffix(suffix)))


def copied(rng, file):
    """The file lies there twice, by two names."""
    other = file.with_name(f"{file.stem}-2{file.suffix}")
    other.write_bytes(file.read_bytes())
    return Change(ANY, f"as {other.name}")
