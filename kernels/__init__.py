"""The hot loops, one folder or module per operation.

A server needs `scan` and `int8_encoder`, which do not import torch. `attention`, `infonce`,
`lora_linear` and `activation_cache` are for training. README.md describes the layout of a kernel.
"""
