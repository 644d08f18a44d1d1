"""The texts of the benchmarks: docstrings of the Python standard library, of at most 256 tokens.

256 is the model's own default limit, so that no peer cuts a text that another computes whole.
"""

from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer

from cli.stdlib_docs import read_docstrings, standard_library

MOST_TOKENS = 256


def texts(count: int, model_folder: Path) -> tuple[list[str], list[int]]:
    """The first `count` texts that fit, each once, and their token counts (special tokens included).

    They are taken evenly from all over the library, since neighbours are alike.
    """
    tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    all_texts = list(dict.fromkeys(text.text for text in read_docstrings(standard_library())))
    encoded = tokenizer.encode_batch_fast(all_texts)
    fitting = [(t, len(e.ids)) for t, e in zip(all_texts, encoded, strict=True) if len(e.ids) <= MOST_TOKENS]
    step = max(1, len(fitting) // count)
    chosen = list(islice(fitting[::step], count))
    return [text for text, _ in chosen], [tokens for _, tokens in chosen]
