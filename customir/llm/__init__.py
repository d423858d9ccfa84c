"""A local LLM run by llama.cpp: one context holds many sequences, and nothing is computed twice."""

from customir.llm.engine import Engine, Usage
from customir.llm.interface import Llm
from customir.llm.prompt import Prompt, Sampling
from customir.llm.servers import Servers

__all__ = ["Engine", "Llm", "Prompt", "Sampling", "Servers", "Usage"]
