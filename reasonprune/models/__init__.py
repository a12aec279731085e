"""Models by short name, path or hub id: `resolve` and `resolve_encoder` find (and fetch) one, `catalog` lists."""

from reasonprune.models.cache import cache_folder
from reasonprune.models.catalog import CatalogEntry, catalog
from reasonprune.models.reference import ResolvedModel, fetch_by_name, resolve, resolve_encoder

__all__ = [
    "CatalogEntry",
    "ResolvedModel",
    "cache_folder",
    "catalog",
    "fetch_by_name",
    "resolve",
    "resolve_encoder",
]
