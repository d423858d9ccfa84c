"""Contrastive training of the embedder: LoRA, InfoNCE, gradient caching."""

from customir.training.examples import Example, TrainingPassage
from customir.training.held_out import HeldOut
from customir.training.trainer import TrainingResult, train

__all__ = ["Example", "HeldOut", "TrainingPassage", "TrainingResult", "train"]
