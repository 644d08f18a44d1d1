"""Writes the reference vectors of all-MiniLM-L6-v2: sentence-transformers, float32, at most 512 tokens.

Argument: the model's folder, as sentence-transformers loads it. One text per batch, so that no padding
takes part. See README.md.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from backends.bert.selftest_texts import TEXTS

DATA = Path("tests/data/bert")
SELFTEST = Path("configs/gallery/all-minilm-l6-v2.selftest.npz")


def main() -> None:
    torch.set_num_threads(1)
    model = SentenceTransformer(sys.argv[1], device="cpu", model_kwargs={"torch_dtype": torch.float32})
    model.max_seq_length = 512
    stored = json.loads((DATA / "texts.json").read_text())
    texts = [*stored["corpus"], *stored["hard"].values()]
    np.savez(DATA / "all-minilm-l6-v2.npz", vectors=embed(model, texts))
    np.savez_compressed(SELFTEST, texts=np.array(TEXTS), vectors=embed(model, list(TEXTS)))


def embed(model: SentenceTransformer, texts: list[str]) -> np.ndarray:
    return model.encode(texts, batch_size=1, normalize_embeddings=True, show_progress_bar=False)


if __name__ == "__main__":
    main()
