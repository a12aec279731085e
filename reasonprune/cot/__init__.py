"""ASAP (arXiv 2508.05988): chains of thought shortened by leaving out the steps that surprise the model least."""
