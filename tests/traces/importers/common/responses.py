"""A response of an engine that recorded experts."""

import json

from tests.traces.importers.known import npy


def one(experts, **more):
    """A response of vLLM, as JSON."""
    return json.dumps({"choices": [{"routed_experts": npy(experts)}], **more})
