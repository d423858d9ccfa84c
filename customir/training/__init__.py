"""Contrastive training of the embedder: LoRA, InfoNCE, gradient caching."""

from customir.training.dev_queries import DevQueries
from customir.training.examples import Example, TrainingPassage
from customir.training.trainer import TrainingResult, train

__all__ = ["DevQueries", "Example", "TrainingPassage", "TrainingResult", "train"]
