"""The catalog: facts that people edit, read from data/catalog, each with its source.

Records are validated when read; a broken file raises `CatalogError` with the file, the field and what was expected.
Every part is read on first use only, so that listing models does not read the hardware.
"""
