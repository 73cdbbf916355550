"""The small real model, loaded once."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ROOT / "data" / "tiny-mixtral"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two threads of tiny products on two busy cores wait for each other more than they work."""
    torch = pytest.importorskip("torch", reason="capture needs torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny():
    torch = pytest.importorskip("torch", reason="capture needs torch")
    transformers = pytest.importorskip(
        "transformers", minversion="5.0", reason="capture needs transformers 5"
    )
    return transformers.AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def tokenizer():
    transformers = pytest.importorskip(
        "transformers", minversion="5.0", reason="capture needs transformers 5"
    )
    return transformers.AutoTokenizer.from_pretrained(TINY)
