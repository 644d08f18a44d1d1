"""sentence-transformers on torch, batches of 32, in the precision that BENCH_OPTION names."""

import os

from benchmarks.turns import Embed, serve


def load() -> Embed:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    precision = {"float32": torch.float32, "bfloat16": torch.bfloat16}[os.environ["BENCH_OPTION"]]
    model = SentenceTransformer(
        os.environ["BENCH_MODEL"], device="cpu", model_kwargs={"torch_dtype": precision}
    )
    model.max_seq_length = 512

    def embed(texts: list[str]) -> object:
        vectors = model.encode(texts, batch_size=32, convert_to_tensor=True, show_progress_bar=False)
        return vectors.float().numpy()

    return embed


if __name__ == "__main__":
    serve(load)
