"""A job: workspace, settings and progress, and what several stages make from them."""

from customir.job.job import CHECK_NAME, Job, StageSummary

__all__ = ["CHECK_NAME", "Job", "StageSummary"]
