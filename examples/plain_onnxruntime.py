"""Embed with ONNX Runtime and tokenizers alone; MODEL is DIR/model of an adaptation.

python examples/plain_onnxruntime.py MODEL
"""

import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import of onnxruntime
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder = sys.argv[1]
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
tokenizer.enable_padding()
tokenizer.enable_truncation(256)
session = onnxruntime.InferenceSession(f"{folder}/onnx/model_qint8.onnx")
batch = tokenizer.encode_batch(["an invoice that was paid twice"])
vectors = session.run(
    ["sentence_embedding"],
    {
        "input_ids": np.array([text.ids for text in batch], dtype=np.int64),
        "attention_mask": np.array([text.attention_mask for text in batch], dtype=np.int64),
    },
)[0]
print(vectors.shape, np.linalg.norm(vectors))
