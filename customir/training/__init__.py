"""Contrastive training of the embedder: LoRA, InfoNCE, gradient caching."""

from customir.training.examples import Example, TrainingPassage
from customir.training.trainer import TrainingResult, train

__all__ = ["Example", "TrainingPassage", "TrainingResult", "train"]
