"""The GEMM rate of one core at the model's shapes: what no encoder on it can exceed.

Prints {"float32": FLOP/s, "bfloat16": FLOP/s}. The shapes are those of all-MiniLM-L6-v2's feed-forward
layers (384 × 1536) with 1,024 rows, a batch of the size that we compute.
"""

import json
import sys
import time

from benchmarks.turns import pin

ROWS, HIDDEN, INNER, REPEATS = 1024, 384, 1536, 60


def main() -> None:
    pin()
    import torch

    torch.set_num_threads(1)
    rates = {}
    for precision in (torch.float32, torch.bfloat16):
        a, b = torch.randn(ROWS, HIDDEN).to(precision), torch.randn(HIDDEN, INNER).to(precision)
        best = 0.0
        for _ in range(5):
            cpu = time.process_time()
            for _ in range(REPEATS):
                torch.matmul(a, b)
            best = max(best, REPEATS * 2 * ROWS * HIDDEN * INNER / (time.process_time() - cpu))
        rates[str(precision).removeprefix("torch.")] = best
    sys.stdout.write(json.dumps(rates) + "\n")


if __name__ == "__main__":
    main()
