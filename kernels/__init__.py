"""The hot loops, one folder or module an operation.

`scan` and `int8_encoder` are what a server needs and import no torch; `attention`, `infonce`,
`lora_linear` and `activation_cache` are for training. README.md says how a kernel is laid out.
"""
