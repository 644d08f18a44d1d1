"""Writes small random models of every architecture, and what transformers makes of random ids.

They are saved in the ways that real checkpoints are: float32, float16 and bfloat16, sharded, from inside a
larger model, and with the layer norm names of the first BERT releases. Weights are drawn wide, so that a
wrong bias, bucket or position moves the vectors far. See README.md.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from sentence_transformers.sentence_transformer.modules import Pooling

OUT = Path("tests/data/bert/tiny")
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
POOLINGS = {"mean": "mean", "cls": "cls", "max": "max", "last": "lasttoken"}
ROWS = 16


def models() -> dict[str, tuple[transformers.PreTrainedModel, torch.dtype]]:
    """Folder → model and the type that its weights are stored in."""
    t = transformers
    roberta = {"vocab_size": 120, "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}
    bert = {"vocab_size": 120, "max_position_embeddings": 64}
    distil = {"vocab_size": 120, "max_position_embeddings": 64, "dim": 32, "n_layers": 2, "n_heads": 4}
    mpnet = {"vocab_size": 120, "max_position_embeddings": 402, "pad_token_id": 1}
    return {
        "bert": (t.BertModel(t.BertConfig(**SHAPE, **bert)), torch.float32),
        "bert-in-a-language-model": (
            t.BertForMaskedLM(t.BertConfig(**SHAPE, **bert, hidden_act="gelu_new")),
            torch.float16,
        ),
        "distilbert": (t.DistilBertModel(t.DistilBertConfig(**distil, hidden_dim=64)), torch.float16),
        "roberta": (t.RobertaModel(t.RobertaConfig(**SHAPE, **roberta)), torch.float16),
        "xlm-roberta": (t.XLMRobertaModel(t.XLMRobertaConfig(**SHAPE, **roberta)), torch.bfloat16),
        "mpnet": (t.MPNetModel(t.MPNetConfig(**SHAPE, **mpnet)), torch.float16),
    }


def main() -> None:
    torch.manual_seed(11)
    shutil.rmtree(OUT, ignore_errors=True)
    for name, (model, dtype) in models().items():
        folder = OUT / name
        folder.mkdir(parents=True)
        spread(model, dtype)
        save(model, dtype, folder)
        np.savez_compressed(folder / "reference.npz", **reference(model))


def spread(model: transformers.PreTrainedModel, dtype: torch.dtype) -> None:
    """Random weights that the stored type can hold exactly, the padding rows included."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            centre = 1.0 if "LayerNorm.weight" in name or "layer_norm.weight" in name else 0.0
            weight.copy_((torch.randn_like(weight) * 0.25 + centre).to(dtype).float())
    model.eval()


def save(model: transformers.PreTrainedModel, dtype: torch.dtype, folder: Path) -> None:
    (folder / "config.json").write_text(model.config.to_json_string(use_diff=False))
    weights = {name: weight.to(dtype).clone() for name, weight in model.named_parameters()}
    if folder.name == "bert-in-a-language-model":
        weights = {old_name(name): weight for name, weight in weights.items()}
    if folder.name != "xlm-roberta":
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    shards = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(weights)}
    for shard in set(shards.values()):
        save_file({name: weights[name] for name in weights if shards[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))


def old_name(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def reference(model: transformers.PreTrainedModel) -> dict[str, np.ndarray]:
    """Random rows of ids and their unit vectors by pooling. Row 0 has one token, row 1 all positions, row 2
    holds the padding id as if it were text."""
    config, pad = model.config, model.config.pad_token_id
    positions = config.max_position_embeddings - (pad + 1 if pad else 0)
    generator = np.random.default_rng(5)
    lengths = generator.integers(2, positions, ROWS)
    lengths[:3] = 1, positions, 9
    rows = [generator.integers(pad + 1, config.vocab_size, length) for length in lengths]
    rows[2][3:5] = pad
    encoder = getattr(model, "bert", model) if isinstance(model, transformers.BertForMaskedLM) else model
    stored = {"ids": np.concatenate(rows).astype(np.int32), "lengths": lengths.astype(np.int32)}
    for ours, theirs in POOLINGS.items():
        stored[ours] = np.concatenate([vector(encoder, row, theirs) for row in rows])
    return stored


def vector(encoder: transformers.PreTrainedModel, row: np.ndarray, pooling: str) -> np.ndarray:
    """One row alone: ids (width) to a unit vector (1, hidden)."""
    ids = torch.tensor(row)[None]
    mask = torch.ones_like(ids)
    with torch.no_grad():
        hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        features = {"token_embeddings": hidden, "attention_mask": mask}
        pooled = Pooling(hidden.shape[-1], pooling_mode=pooling)(features)["sentence_embedding"]
    return torch.nn.functional.normalize(pooled).numpy()


if __name__ == "__main__":
    main()
