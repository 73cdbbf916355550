r"""llama.cpp: command-line options that keep whole layers of experts in main memory. It cannot pin single experts.

``-ot`` takes the first pattern that is found anywhere in a tensor's name, so that the number stands between its dots:
``blk\.(3|31)\.`` is found in ``blk.3.`` and ``blk.31.``, and in no other name. Patterns are separated by commas, which
therefore must not be in one. Experts are in ``ffn_up_exps``, ``ffn_gate_exps``, ``ffn_down_exps`` or
``ffn_gate_up_exps``; shared experts (``_shexp``) are not meant. ``--n-cpu-moe N`` does the same for layers 0 to N − 1.
"""

from collections.abc import Mapping, Sequence

from routestat.serving.exports.exported import Exported
from routestat.serving.exports.layer_rows import layers_of, notes_on_layers
from routestat.traces.number_ranges import span


def llama_cpp(exported: Exported) -> Mapping[str, bytes]:
    """Return the options, each after a comment on what it does."""
    with_experts = layers_with_experts(exported)
    fast = sorted(set(exported.fast_layers))
    slow = [layer for layer in with_experts if layer not in fast]
    lines = ["# llama.cpp moves the experts of whole layers. Use one of the options, with -ngl 99."]
    if not slow:
        lines.append("# The experts of all layers are on the GPU: no option is needed.")
    else:
        kept = f"the experts of {layers_of(fast)} stay on the GPU" if fast else "no experts stay on the GPU"
        lines.append(f"# Experts of {layers_of(slow)} in main memory; {kept}:")
        lines.append(f"-ot '{pattern_of(slow)}=CPU'")
        lines += _first_layers(with_experts, fast, slow)
    return {"llama.cpp.txt": ("\n".join(lines) + "\n").encode()}


def layers_with_experts(exported: Exported) -> list[int]:
    """Return the layers with experts, traced or known from the model's configuration."""
    return sorted({*(router.layer for router in exported.routers), *(exported.moe_layers or ())})


def pattern_of(layers: Sequence[int]) -> str:
    """Return the regular expression of the expert tensors of these layers."""
    return rf"blk\.({'|'.join(map(str, layers))})\.ffn_.*_exps\."


def notes(exported: Exported) -> tuple[str, ...]:
    """Return words on layers that the trace lacks."""
    fast = set(exported.fast_layers)
    return notes_on_layers(
        exported,
        "those that are not chosen for the GPU are in main memory" if fast else "they are in main memory",
        "-ot leaves them on the GPU",
    )


def _first_layers(with_experts: list[int], fast: list[int], slow: list[int]) -> list[str]:
    """Return ``--n-cpu-moe``, and whether it does the same as the pattern."""
    number = slow[-1] + 1
    if not any(layer < number for layer in fast):
        return ["# The same:", f"--n-cpu-moe {number}"]
    # With as many layers of experts on the GPU, it keeps the last ones.
    last = with_experts[-len(fast) :]
    return [
        f"# Not the same: as many layers of experts on the GPU, but the last ones ({span(last)}):",
        f"--n-cpu-moe {last[0]}",
    ]
