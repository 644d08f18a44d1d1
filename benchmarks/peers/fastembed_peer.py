"""fastembed (ONNX Runtime, float32), over an ONNX file that is exported here once with torch."""

import os
from pathlib import Path
from typing import Any

from benchmarks.turns import Embed, serve


def export(folder: Path, target: Path) -> None:
    """The encoder without pooling, as fastembed wants it: input ids, mask and types to hidden states."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    class HiddenStates(torch.nn.Module):  # type: ignore[misc]
        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            found = model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
            return found.last_hidden_state

    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = tuple(torch.ones((2, 8), dtype=torch.int64) for _ in names)
    sizes = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("tokens", min=2, max=512)}
    program = torch.onnx.export(
        HiddenStates(),
        example,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_shapes=dict.fromkeys(names, sizes),
        dynamo=True,
    )
    program.save(str(target))


def load() -> Embed:
    import shutil

    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    folder = Path(os.environ["BENCH_MODEL"])
    exported = Path(os.environ["BENCH_CACHE"]) / "onnx"
    if not (exported / "model.onnx").exists():
        exported.mkdir(parents=True, exist_ok=True)
        export(folder, exported / "model.onnx")
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copy(folder / name, exported / name)
        (exported / "special_tokens_map.json").write_text(
            '{"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}'
        )
    TextEmbedding.add_custom_model(
        model="bench/all-minilm-l6-v2",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="bench/all-minilm-l6-v2"),
        dim=384,
        model_file="model.onnx",
    )
    model = TextEmbedding("bench/all-minilm-l6-v2", threads=1, specific_model_path=str(exported))
    return lambda texts: list(model.embed(texts, batch_size=32))


if __name__ == "__main__":
    serve(load)
