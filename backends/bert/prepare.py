"""One part's body to rows of token ids, checked, since the native libraries check nothing.

OpenVINO computes silent garbage for an id outside the vocabulary or a row beyond the position table and
NaN for an empty row; llama.cpp aborts the process (measured). So every row that leaves here has
1 … `max_tokens` ids, each of them 0 … `vocab_size` - 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backends.bert.model_folder import BertModel
from backends.bert.overlong import means, shorten, windows
from backends.bert.tokenizer import BertTokenizer
from backends.embeddings import EmbeddingRequest, apply_dimensions, check_dimensions, parse_part
from backends.errors import InvalidBody

ENDPOINT = "/v1/embeddings"
# A million characters take at most half a gigabyte and two seconds to tokenize (Chinese; measured).
MAX_CHARACTERS = 1_000_000
# Rows beyond one per input, which only `chunk_mean` makes: a minute or two of compute.
MAX_WINDOWS = 1024


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What to compute for one part. `rows` go to the encoder; `spans[i]` says which rows input `i` has
    (more than one only with `chunk_mean`)."""

    rows: list[list[int]]
    spans: list[tuple[int, int]]
    dimensions: int | None

    @property
    def tokens(self) -> int:
        """Tokens computed, special tokens included."""
        return sum(map(len, self.rows))


def prepare(endpoint: str, body: bytes, model: BertModel, tokenizer: BertTokenizer) -> Prepared:
    """Parse and check one body. Raises `InvalidBody` with the code and the field at fault."""
    if endpoint != ENDPOINT:
        raise InvalidBody(
            f"this model serves {ENDPOINT}, not {endpoint}", code="endpoint_not_supported", param="model"
        )
    request = parse_part(body, model=model.name, max_inputs=model.max_inputs, defaults=model.defaults)
    if request.dimensions is not None:
        check_dimensions(request.dimensions, model.hidden)
    rows: list[list[int]] = []
    spans: list[tuple[int, int]] = []
    for number, ids in enumerate(_token_ids(request, model, tokenizer), request.first):
        start = len(rows)
        rows += _fit(number, ids, request, model, tokenizer)
        spans.append((start, len(rows)))
        if len(rows) - len(spans) > MAX_WINDOWS:
            which = f"inputs {request.first} to {number}"
            raise _too_long(f"{which} make more than {MAX_WINDOWS} windows beyond one each")
    return Prepared(rows=rows, spans=spans, dimensions=request.dimensions)


def finish(prepared: Prepared, vectors: npt.NDArray[np.float32], model: BertModel) -> npt.NDArray[np.float32]:
    """Vectors of rows, float32 (rows, hidden), to vectors of inputs, float32 (inputs, dimensions)."""
    if len(prepared.spans) != len(prepared.rows):
        lengths = np.array([len(row) for row in prepared.rows])
        vectors = means(vectors, lengths, prepared.spans, normalize=model.normalize)
    return apply_dimensions(vectors, prepared.dimensions)


def _token_ids(request: EmbeddingRequest, model: BertModel, tokenizer: BertTokenizer) -> Iterator[list[int]]:
    """Ids as they are (special tokens are then the caller's affair), texts with their prefix tokenized.

    One after the other, so that the first input that is wrong ends the work.
    """
    if not isinstance(request.inputs[0], str):
        yield from request.inputs
        return
    prefix = _prefix(request, model)
    for number, given in enumerate(request.inputs, request.first):
        if len(given) > MAX_CHARACTERS:
            raise _too_long(f"input {number} has {len(given)} characters; at most {MAX_CHARACTERS} are read")
        text = prefix + given
        try:
            yield tokenizer.encode([text.lower() if model.lower_case else text])[0]
        except (TypeError, UnicodeEncodeError):
            message = f"input {number} is not valid Unicode"
            raise InvalidBody(message, code="invalid_value", param="input") from None


def _prefix(request: EmbeddingRequest, model: BertModel) -> str:
    """The template that `input_type` names, else the model's own default, else none."""
    name = request.input_type or model.default_prefix
    if name is None:
        return ""
    if name not in model.prefixes:
        known = ", ".join(sorted(model.prefixes)) or "none"
        raise InvalidBody(
            f"the model has no prefix '{name}'; it has: {known}", code="invalid_value", param="input_type"
        )
    return model.prefixes[name]


def _fit(
    number: int, ids: list[int], request: EmbeddingRequest, model: BertModel, tokenizer: BertTokenizer
) -> list[list[int]]:
    """The row of one input, or its windows."""
    if not ids:
        raise InvalidBody(f"input {number} has no tokens", code="empty_input", param="input")
    if min(ids) < 0 or max(ids) >= model.vocab_size:
        raise InvalidBody(
            f"input {number} has a token id outside 0 to {model.vocab_size - 1}",
            code="invalid_token_id",
            param="input",
        )
    if len(ids) <= model.max_tokens:
        return [ids]
    if request.overlong == "truncate":
        return [shorten(ids, model.max_tokens, tokenizer)]
    if request.overlong == "chunk_mean":
        return windows(ids, model.max_tokens, tokenizer)
    raise _too_long(
        f"input {number} has {len(ids)} tokens; the model takes at most {model.max_tokens}"
        ' (see "overlong" for the alternatives)'
    )


def _too_long(message: str) -> InvalidBody:
    return InvalidBody(message, code="context_length_exceeded", param="input")
