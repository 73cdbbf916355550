"""Load a model, and refuse one that cannot be recorded before its weights are read."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from capture.routers import RouterSite, discover, refuse
from capture.settings import RunSettings
from routestat.errors import RoutestatError

_LOADING_ERRORS = (OSError, ValueError, ImportError, KeyError, AttributeError, RuntimeError, SafetensorError)
_CONTEXT_ATTRIBUTES = ("max_position_embeddings", "max_seq_len", "n_positions", "seq_length")


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run, its tokenizer and its routers.

    Attributes
    ----------
    name : str
    model : transformers model
    tokenizer : transformers tokenizer
    sites : tuple of RouterSite
    context : int or None
        The largest number of tokens that it takes; None where its configuration does not say.
    """

    name: str
    model: Any
    tokenizer: Any
    sites: tuple[RouterSite, ...]
    context: int | None

    @property
    def pad(self) -> int:
        """Token that pads a batch; it is masked, so that any token serves."""
        for token in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        return 0

    @property
    def end_tokens(self) -> list[int]:
        """Tokens that end a generation."""
        ends = self.model.generation_config.eos_token_id
        ends = self.tokenizer.eos_token_id if ends is None else ends
        return [] if ends is None else [int(end) for end in (ends if isinstance(ends, list) else [ends])]

    @property
    def engine(self) -> str:
        """Versions and kernels, on which ties in low precision depend."""
        config = self.model.config
        return (
            f"transformers {transformers.__version__}, torch {torch.__version__}, "
            f"experts {config._experts_implementation or 'eager'}, attention {config._attn_implementation}"
        )

    @property
    def precision(self) -> str:
        """Number type of the weights, and the quantisation if there is one."""
        kind = str(self.model.dtype).removeprefix("torch.")
        return f"4-bit, {kind}" if getattr(self.model, "is_loaded_in_4bit", False) else kind

    @property
    def quantised_routers(self) -> list[str]:
        """Routers whose weights were quantised too: their choices are not those of the original model."""
        return [
            site.module
            for site in self.sites
            if any(
                "bit" in type(part).__name__ and "Linear" in type(part).__name__
                for part in site.router.modules()
            )
        ]


def load(
    settings: RunSettings, examine: Callable[[Sequence[RouterSite]], object] | None = None
) -> LoadedModel:
    """Load a causal language model by folder or hub name; the hub's token is taken from HF_TOKEN.

    Parameters
    ----------
    settings : RunSettings
    examine : callable(sites), optional
        Called with the routers before any weights are read; it may raise.

    Raises
    ------
    RoutestatError
        If the model cannot be loaded, lacks weights, is dense, or belongs to a family that cannot be recorded; the
        last two before any weights are read.
    """
    name = settings.model
    common: dict[str, Any] = {
        "token": os.environ.get("HF_TOKEN") or None,
        "trust_remote_code": settings.trust_remote_code,
        "revision": settings.revision or "main",
    }
    config = _or_one_line(name, lambda: AutoConfig.from_pretrained(name, **common))
    refuse(config)
    if getattr(config, "is_encoder_decoder", False):
        raise RoutestatError(
            f"{name} is an encoder-decoder; the command runs causal language models, "
            "record others with capture.hooks.Recorder"
        )
    sites = discover(_or_one_line(name, lambda: _without_weights(config, settings.trust_remote_code)))
    if examine is not None:
        examine(sites)
    tokenizer = _or_one_line(name, lambda: AutoTokenizer.from_pretrained(name, **common))
    arguments = {**common, **_weight_arguments(settings)}
    model, found = _or_one_line(name, lambda: AutoModelForCausalLM.from_pretrained(name, **arguments))
    _refuse_missing_weights(name, found)
    model.eval()
    text = config.get_text_config()
    context = next(
        (value for key in _CONTEXT_ATTRIBUTES if isinstance(value := getattr(text, key, None), int)), None
    )
    return LoadedModel(name, model, tokenizer, discover(model), context)


def _weight_arguments(settings: RunSettings) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that concern the weights."""
    dtype = settings.dtype if settings.dtype == "auto" else getattr(torch, settings.dtype)
    # Weights of a wrong shape are returned with the missing ones, to be refused by name.
    arguments: dict[str, Any] = {
        "dtype": dtype,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,
    }
    if settings.device_map or torch.cuda.is_available():
        arguments["device_map"] = settings.device_map or "auto"
    if settings.load_in_4bit:
        arguments["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    if settings.experts:
        arguments["experts_implementation"] = settings.experts
    return arguments


def _without_weights(config: Any, trust_remote_code: bool) -> Any:
    # A dense model is refused before its weights are downloaded.
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)


def _refuse_missing_weights(name: str, found: Mapping[str, Any]) -> None:
    """Refuse files that lack weights: transformers would draw them at random."""
    drawn = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
    if drawn:
        raise RoutestatError(
            f"{name} cannot be recorded: its files lack {len(drawn):,} of the weights that its configuration needs, "
            f"or hold them in another shape, such as {drawn[0]}; they would be drawn at random"
        )


def _or_one_line(name: str, work: Any) -> Any:
    try:
        return work()
    except RoutestatError:
        raise
    except _LOADING_ERRORS as error:
        reason = " ".join(str(error).split())
        if "trust_remote_code" in reason:
            reason = "it brings its own code; read it, then add --trust-remote-code if you trust it"
        raise RoutestatError(f"{name} cannot be loaded: {reason[:300]}") from None
