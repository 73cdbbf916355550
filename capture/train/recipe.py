"""The recipe of a training: shape of the model, initial weights, losses, optimizer and learning rate."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import MixtralConfig, MixtralForCausalLM

from routestat.errors import RoutestatError

UNKNOWN, START, END = "<unk>", "<s>", "</s>"
SPECIAL = (UNKNOWN, START, END)
START_ID, END_ID = SPECIAL.index(START), SPECIAL.index(END)

HEAD_SIZE, HIDDEN_PER_HEAD = 16, 24
# The experts' kernel needs rows of a multiple of 16 bytes.
WIDTH_STEP = 8
EMBEDDING_SD = 0.3
PEAK_RATE, WARM_UP_STEPS, WARM_UP_SHARE = 3e-3, 60, 0.2
BETAS, DECAY, CLIP = (0.9, 0.95), 0.1, 1.0
BALANCE_WEIGHT = 0.01


@dataclass(frozen=True)
class Recipe:
    """The shape of a model and of a training step.

    Parameters
    ----------
    layers, experts, top_k, hidden, intermediate : int
        Shape of the Mixtral; every layer has a router.
    vocab : int
        Tokens of the byte-level BPE, special tokens included; a small text may yield fewer.
    context : int
        Tokens of a row.
    batch_tokens : int
        Tokens of a step over all processes.
    seed : int
        Seed of the initial weights, the held-out documents and the order of the text.
    """

    layers: int = 32
    experts: int = 8
    top_k: int = 2
    hidden: int = 96
    intermediate: int = 80
    vocab: int = 1024
    context: int = 256
    batch_tokens: int = 4096
    seed: int = 0

    def check(self) -> None:
        """Refuse shapes that are not possible.

        Raises
        ------
        RoutestatError
            Naming the option.
        """
        if self.top_k > self.experts:
            raise RoutestatError(f"--top-k {self.top_k} of --experts {self.experts}: there are not as many")
        for name, width in (("--hidden", self.hidden), ("--intermediate", self.intermediate)):
            if width % WIDTH_STEP:
                raise RoutestatError(
                    f"{name} {width}: the experts' kernel takes multiples of {WIDTH_STEP}, in bf16 as it is saved"
                )
        if self.vocab < 256 + len(SPECIAL):
            raise RoutestatError(f"--vocab {self.vocab}: bytes and specials alone are {256 + len(SPECIAL)}")
        if self.batch_tokens % self.context:
            raise RoutestatError(
                f"--batch-tokens {self.batch_tokens} is no multiple of --context {self.context}"
            )

    @property
    def rows(self) -> int:
        """Rows of a training step."""
        return self.batch_tokens // self.context

    def config(self, vocab: int) -> MixtralConfig:
        """Return the configuration of transformers for a tokenizer of `vocab` tokens."""
        heads = max(2, self.hidden // HIDDEN_PER_HEAD // 2 * 2)
        return MixtralConfig(
            vocab_size=vocab,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=heads,
            num_key_value_heads=heads // 2,
            head_dim=HEAD_SIZE,
            num_local_experts=self.experts,
            num_experts_per_tok=self.top_k,
            max_position_embeddings=self.context,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            router_aux_loss_coef=BALANCE_WEIGHT,
            bos_token_id=START_ID,
            eos_token_id=END_ID,
            # The embedding of a padding token would have no gradient; the token is set when the model is saved.
            pad_token_id=None,
            tie_word_embeddings=False,
        )


def make_model(recipe: Recipe, vocab: int) -> Any:
    """Return a Mixtral in float32 with initial weights that are a function of the seed alone."""
    model = MixtralForCausalLM._from_config(
        recipe.config(vocab), dtype=torch.float32, experts_implementation="grouped_mm"
    )
    initialise(model, recipe.layers, torch.Generator().manual_seed(recipe.seed))
    return model.train()


@torch.no_grad()
def initialise(model: Any, layers: int, generator: torch.Generator) -> None:
    """Draw initial weights with which tens of layers train stably: every matrix preserves the scale of its input.

    Embeddings have the standard deviation 0.3, a matrix 1/√(fan in). Matrices whose output is added to the residual
    stream (``o_proj``, ``down_proj``) are smaller by √(2 × layers), so that the sum over all layers is of order one.
    """
    for name, weight in model.named_parameters():
        if weight.dim() == 1:
            weight.fill_(1.0)
            continue
        sd = EMBEDDING_SD if "embed_tokens" in name else weight.shape[-1] ** -0.5
        if "o_proj" in name or "down_proj" in name:
            sd *= (2 * layers) ** -0.5
        weight.normal_(0.0, sd, generator=generator)


def balance_losses(router_logits: Tensor, top_k: int) -> Tensor:
    """Compute the Switch loss of every layer: E × Σ over experts of (share of choices × mean probability).

    It is 1 if the load is even and E if one expert gets all tokens. It is computed by layer because the loss of
    transformers pools all layers: four layers that collapsed onto different experts look even to it.

    Parameters
    ----------
    router_logits : float ``[layer, token, expert]``

    Returns
    -------
    float ``[layer]``
        Gradients pass through the probabilities; the choices are constants.

    References
    ----------
    Fedus, Zoph and Shazeer, Switch Transformers, JMLR 23 (2022), equation 4; for top-k the shares are of
    all choices.
    """
    layers, _, experts = router_logits.shape
    probability = router_logits.float().softmax(dim=-1)
    chosen = probability.detach().topk(top_k, dim=-1).indices.reshape(layers, -1)
    share = torch.zeros(layers, experts).scatter_add_(1, chosen, torch.ones(chosen.shape)) / chosen.shape[1]
    return experts * (share * probability.mean(dim=1)).sum(dim=1)


def losses(model: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy (nats per token) and the sum over layers of the balance losses.

    Parameters
    ----------
    model : transformers model
    rows : int ``[row, column]``
        Each starts with the start token; every other token is predicted from those before it.
    """
    output = model.model(input_ids=rows[:, :-1], use_cache=False, output_router_logits=True)
    logits = model.lm_head(output.last_hidden_state)
    cross_entropy = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].reshape(-1))
    balance = balance_losses(torch.stack(output.router_logits), model.config.num_experts_per_tok)
    return cross_entropy, balance.sum()


def make_optimizer(model: Any) -> torch.optim.AdamW:
    """Return AdamW without weight decay of the norms."""
    parameters = list(model.parameters())
    groups = [
        {"params": [weight for weight in parameters if weight.dim() > 1], "weight_decay": DECAY},
        {"params": [weight for weight in parameters if weight.dim() == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=BETAS, fused=True)


def learning_rate(step: int, fraction: float) -> float:
    """Return the learning rate of step number `step` (from 0), after `fraction` of the steps or of the time.

    It rises linearly over 60 steps, or a fifth of the run where that is shorter, and falls linearly to 0.
    """
    warmth = max((step + 1) / WARM_UP_STEPS, fraction / WARM_UP_SHARE)
    return PEAK_RATE * min(warmth, 1.0) * max(1.0 - fraction, 0.0)
