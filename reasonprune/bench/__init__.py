"""The offline runs behind `reasonprune bench`; every result carries its provenance."""
