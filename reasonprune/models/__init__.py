"""Models by short name, path or hub id: `resolve` finds (and fetches) one, `catalog` lists those with a short name."""

from reasonprune.models.cache import cache_folder
from reasonprune.models.catalog import CatalogEntry, catalog
from reasonprune.models.reference import ResolvedModel, resolve

__all__ = ["CatalogEntry", "ResolvedModel", "cache_folder", "catalog", "resolve"]
