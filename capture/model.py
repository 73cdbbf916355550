"""Load a model to be recorded; refuse early what cannot be."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from capture.routers import RouterSite, discover, refuse
from routestat.errors import RoutestatError

_LOADING = (OSError, ValueError, ImportError, KeyError, AttributeError, RuntimeError, SafetensorError)
_CONTEXT = ("max_position_embeddings", "max_seq_len", "n_positions", "seq_length")


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run, its tokenizer and its routers.

    Attributes
    ----------
    context : int or None
        The most tokens it takes; None where its configuration does not say.
    """

    name: str
    model: Any
    tokenizer: Any
    sites: tuple[RouterSite, ...]
    context: int | None

    @property
    def pad(self) -> int:
        """A token to fill batches with; it is masked, so any will do."""
        for token in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        return 0

    @property
    def end_tokens(self) -> list[int]:
        """What ends a generation."""
        ends = self.model.generation_config.eos_token_id
        ends = self.tokenizer.eos_token_id if ends is None else ends
        return [] if ends is None else [int(end) for end in (ends if isinstance(ends, list) else [ends])]

    @property
    def engine(self) -> str:
        """Versions and kernels, which decide how ties in low precision fall."""
        config = self.model.config
        return (
            f"transformers {transformers.__version__}, torch {torch.__version__}, "
            f"experts {config._experts_implementation or 'eager'}, attention {config._attn_implementation}"
        )

    @property
    def precision(self) -> str:
        """The type of the weights, and the quantisation if any."""
        kind = str(self.model.dtype).removeprefix("torch.")
        return f"4-bit, {kind}" if getattr(self.model, "is_loaded_in_4bit", False) else kind

    @property
    def quantised_routers(self) -> list[str]:
        """Routers whose own weights were quantised with the rest: their choices are not the model's."""
        return [
            site.module
            for site in self.sites
            if any(
                "bit" in type(part).__name__ and "Linear" in type(part).__name__
                for part in site.router.modules()
            )
        ]


def load(
    name: str,
    *,
    dtype: str = "auto",
    device_map: str = "",
    load_in_4bit: bool = False,
    experts: str = "",
    revision: str = "",
    trust_remote_code: bool = False,
    examine: Callable[[Sequence[RouterSite]], object] | None = None,
) -> LoadedModel:
    """Load a causal language model by folder or hub name; a token for the hub comes from HF_TOKEN.

    `examine` sees the routers before any weights are read, and may refuse them.

    Raises
    ------
    RoutestatError
        If it cannot be loaded, lacks weights, is dense, or is of a family that cannot be recorded; the last two
        before any weights are read.
    """
    common: dict[str, Any] = {
        "token": os.environ.get("HF_TOKEN") or None,
        "trust_remote_code": trust_remote_code,
        "revision": revision or "main",
    }
    config = _or_complain(name, lambda: AutoConfig.from_pretrained(name, **common))
    refuse(config)
    if getattr(config, "is_encoder_decoder", False):
        raise RoutestatError(
            f"{name} is an encoder-decoder; the command runs causal language models, "
            "record others with capture.hooks.Recorder"
        )
    sites = discover(_or_complain(name, lambda: _empty(config, trust_remote_code)))
    if examine is not None:
        examine(sites)
    tokenizer = _or_complain(name, lambda: AutoTokenizer.from_pretrained(name, **common))
    how: dict[str, Any] = {**common, "dtype": dtype if dtype == "auto" else getattr(torch, dtype)}
    if device_map or torch.cuda.is_available():
        how["device_map"] = device_map or "auto"
    if load_in_4bit:
        how["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    if experts:
        how["experts_implementation"] = experts
    # Mismatches come back with what is missing, to be refused with their names.
    how |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
    model, found = _or_complain(name, lambda: AutoModelForCausalLM.from_pretrained(name, **how))
    _refuse_drawn(name, found)
    model.eval()
    text = config.get_text_config()
    context = next((value for key in _CONTEXT if isinstance(value := getattr(text, key, None), int)), None)
    return LoadedModel(name, model, tokenizer, discover(model), context)


def _empty(config: Any, trust_remote_code: bool) -> Any:
    # The modules without their weights: a dense model is refused before it is downloaded.
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)


def _refuse_drawn(name: str, found: Mapping[str, Any]) -> None:
    """Refuse weights that the files do not hold: transformers would draw them at random and go on."""
    drawn = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
    if drawn:
        raise RoutestatError(
            f"{name} cannot be recorded: its files lack {len(drawn):,} of the weights that its configuration asks "
            f"for, or hold them in another shape, such as {drawn[0]}; they would be drawn at random"
        )


def _or_complain(name: str, work: Any) -> Any:
    try:
        return work()
    except RoutestatError:
        raise
    except _LOADING as error:
        reason = " ".join(str(error).split())
        if "trust_remote_code" in reason:
            reason = "it brings its own code; read it, then add --trust-remote-code if you trust it"
        raise RoutestatError(f"{name} cannot be loaded: {reason[:300]}") from None
