"""CoLa (arXiv 2507.07996): a chain of layers per request, skipping or repeating decoder layers. Lossy."""

from reasonprune.depth.program import LayerProgram

__all__ = ["LayerProgram"]
