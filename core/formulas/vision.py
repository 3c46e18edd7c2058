"""Images in a prompt: tokens that they become, and work of the tower that reads them."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import Bytes, Count, Flop, Seconds, Tokens


@formula("transformers-images")
def grid_tokens(*, tiles: Count, rows: Count, columns: Count, row_ends: Count) -> Tokens:
    """Tokens of one image: those of each tile's grid, and one behind each row where the family ends rows so."""
    return tiles * rows * (columns + row_ends)


@formula("definition")
def image_prompt(*, text: Tokens, images: Count, tokens_each: Tokens) -> Tokens:
    """A prompt with its images: their tokens stand in it like words."""
    return text + images * tokens_each


@formula("definition")
def all_image_tokens(*, images: Count, tokens_each: Tokens) -> Tokens:
    """Tokens of a request's images."""
    return images * tokens_each


@formula("dosovitskiy2021", eq="sec. 3.1")
def image_patches(*, tiles: Count, rows: Count, columns: Count, merge: Count) -> Count:
    """Patches that the tower sees of one image: `merge` of them along each side become one token."""
    return tiles * rows * columns * merge**2


@formula("dosovitskiy2021", eq="sec. 3.1")
def patch_pairs(*, patches: Count, tiles: Count, full: Count, windowed: Count, window: Count) -> Count:
    """Query-key pairs over the tower's layers: each patch with all of its tile, in `windowed` layers with those of its window."""
    return full * patches**2 / tiles + windowed * patches * np.minimum(window, patches)


@formula("definition")
def images_in_step(*, images: Count, prompts: Count, chunks: Count, stages: Count) -> Count:
    """Images that one of a prompt's steps stands for; the tower works in the first pipeline stage alone, so it weighs more there."""
    return images * prompts * stages / (chunks + stages - 1)


@formula("definition")
def flop_share(*, flop: Flop, ranks: Count) -> Flop:
    """An even share of work over the ranks that cut the tower."""
    return flop / ranks


@formula("definition")
def images_flop(*, each: Flop, images: Count) -> Flop:
    """The tower's work for some images."""
    return each * images


@formula("definition")
def images_bytes(*, each: Bytes, images: Count) -> Bytes:
    """The tower's weights, read for each image."""
    return each * images


@formula("definition")
def images_time(*, each: Seconds, images: Count) -> Seconds:
    """The tower's time for some images, one after the other."""
    return each * images
