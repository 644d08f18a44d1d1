"""llama-cpp-python's own `create_embedding`, with its defaults and one thread, over the f16 file."""

import os

from benchmarks.turns import Embed, serve


def load() -> Embed:
    from llama_cpp import Llama

    model = Llama(
        model_path=os.environ["BENCH_GGUF"], embedding=True, n_threads=1, n_threads_batch=1, verbose=False
    )

    def embed(texts: list[str]) -> object:
        return [row["embedding"] for row in model.create_embedding(texts)["data"]]

    return embed


if __name__ == "__main__":
    serve(load)
