"""infinity's engine on torch float32, fed with all texts at once; it batches by itself."""

import asyncio
import os

from benchmarks.turns import Embed, serve


def load() -> Embed:
    import torch
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    torch.set_num_threads(1)
    arguments = EngineArgs(
        model_name_or_path=os.environ["BENCH_MODEL"],
        engine="torch",
        device="cpu",
        dtype="float32",
        batch_size=32,
        bettertransformer=False,
        compile=False,
        model_warmup=False,
    )
    engine = AsyncEmbeddingEngine.from_args(arguments)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(engine.astart())

    def embed(texts: list[str]) -> object:
        vectors, _ = loop.run_until_complete(engine.embed(sentences=texts))
        return vectors

    return embed


if __name__ == "__main__":
    serve(load)
