"""Batchyard's bare engine: a backend of the bert family, fed without a service around it.

BENCH_OPTION names the runtime; BENCH_GGUF the file for llamacpp.
"""

import json
import os
from pathlib import Path

from benchmarks.peers.feeds import ListFeed
from benchmarks.turns import Embed, serve


def load() -> Embed:
    import numpy as np

    from backends.registry import backend_class
    from backends.types import Done, Part, decode_embedding
    from configs.models import ModelSpec

    runtime, folder = os.environ["BENCH_OPTION"], Path(os.environ["BENCH_MODEL"])
    options = {"gguf": Path(os.environ["BENCH_GGUF"]).name} if runtime == "llamacpp" else {}
    spec = ModelSpec.model_validate(
        {"name": "bench", "family": "bert", "limits": {"max_tokens": 512}, "options": options}
    )
    backend = backend_class("bert", runtime).load(spec, folder, 1)

    def embed(texts: list[str]) -> object:
        bodies = [json.dumps({"model": "bench", "input": text}).encode() for text in texts]
        parts = [Part(key=key, endpoint="/v1/embeddings", body=body) for key, body in enumerate(bodies)]
        rows: dict[int, object] = {}
        for event in backend.run(ListFeed(parts)):  # type: ignore[arg-type]
            if isinstance(event, Done):
                result = decode_embedding(event.data)
                rows[event.key] = np.frombuffer(result.vectors, dtype="<f4")
        return [rows[key] for key in range(len(texts))]

    return embed


if __name__ == "__main__":
    serve(load)
