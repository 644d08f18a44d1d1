"""The self-test at load: does this build, on this CPU, in this precision, compute the right vectors?

`selftest.npz` in the model's folder holds `texts` and their float32 `vectors`, computed with
sentence-transformers (`tests/references/`). A model without that file is compared with itself, a text
alone against the same text in a batch, which shows NaN and garbage but not a wrong graph.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import structlog

from backends.bert.encoder import Encoder
from backends.bert.model_folder import BertModel
from backends.bert.overlong import shorten
from backends.bert.selftest_texts import TEXTS
from backends.bert.tokenizer import BertTokenizer
from backends.errors import LoadFailed

log = structlog.get_logger(__name__)

MIN_COSINE = 0.999
FILE = "selftest.npz"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """`vectors` is float32 (texts, hidden). `min_cosine` is the bar: a precision that a spec chose knowing
    what it costs has a lower one."""

    texts: list[str]
    vectors: npt.NDArray[np.float32]
    min_cosine: float = MIN_COSINE


def stored_reference(folder: Path) -> Reference | None:
    """The reference in the model's folder, if it has one. Raises `LoadFailed` when it cannot be read."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            texts, vectors = stored["texts"].tolist(), stored["vectors"].astype(np.float32)
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise LoadFailed(f"{FILE} cannot be read: {error}", code="model_load_failed") from None
    if vectors.ndim != 2 or len(texts) != len(vectors) or not len(texts):
        raise LoadFailed(f"{FILE} does not hold one vector per text", code="model_load_failed")
    return Reference(texts=texts, vectors=vectors)


def computed_reference(encoder: Encoder, model: BertModel, tokenizer: BertTokenizer) -> Reference:
    """What `encoder` makes of our own texts: the yardstick for a faster precision of the same weights."""
    return Reference(texts=list(TEXTS), vectors=embed(encoder, model, tokenizer, list(TEXTS)))


def passes(encoder: Encoder, model: BertModel, tokenizer: BertTokenizer, reference: Reference | None) -> bool:
    """True when every vector has a cosine of at least the reference's bar with its own.

    Without a reference: when the texts in one batch give the vectors that they give alone.
    """
    texts = reference.texts if reference else list(TEXTS)
    vectors = embed(encoder, model, tokenizer, texts)
    if reference and reference.vectors.shape != vectors.shape:
        raise LoadFailed(
            f"{FILE} holds vectors of {reference.vectors.shape[1]} dimensions, the model {vectors.shape[1]}",
            code="model_load_failed",
        )
    expected = reference.vectors if reference else embed(encoder, model, tokenizer, texts, rows=4)
    lowest = lowest_cosine(vectors, expected)
    log.info("selftest.run", precision=encoder.precision, texts=len(texts), lowest_cosine=round(lowest, 6))
    return lowest >= (reference.min_cosine if reference else MIN_COSINE)  # False for NaN as well


def embed(
    encoder: Encoder, model: BertModel, tokenizer: BertTokenizer, texts: list[str], *, rows: int = 1
) -> npt.NDArray[np.float32]:
    """Vectors of `texts`, float32 (texts, hidden), `rows` of them per native call."""
    ids = [shorten(row, model.max_tokens, tokenizer) for row in tokenizer.encode(texts)]
    return np.concatenate(
        [encoder.encode(ids[start : start + rows]).copy() for start in range(0, len(ids), rows)]
    )


def lowest_cosine(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> float:
    """The least cosine of two arrays (n, d), row by row; NaN when either has one."""
    products = (left * right).sum(axis=1)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float((products / lengths).min())
