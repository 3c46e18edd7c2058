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


@formula("dosovitskiy2021", eq="sec. 3.1")
def patch_elements(*, width: Count, inner: Count, matrices: Count) -> Count:
    """Elements that a patch holds inside a layer: its state and the normed one, and the wider of attention's four and the MLP's rows."""
    return 2 * width + np.maximum(4 * width, matrices * inner)


@formula("dosovitskiy2021", eq="sec. 3.1")
def patch_scores(*, heads: Count, patches: Count, tiles: Count) -> Count:
    """Attention scores of one patch, with each patch of its tile, where the kernel does not fold them away."""
    return heads * patches / tiles


@formula("definition")
def patches_at_once(*, images: Count, patches: Count, share: Count) -> Count:
    """Patches that the tower works on together: those of so many images, or of one of an image's tiles."""
    return np.maximum(images, 1.0) * patches * share


@formula("definition")
def tower_buffer(*, patches: Count, elements: Count, scores: Count, copies: Count, flash: Count, element_size: Bytes) -> Bytes:
    """What the tower needs beside its weights while it works on images, one layer at a time: with a flash kernel what is copied
    for it, else the scores."""
    return patches * (elements + np.where(flash > 0, copies, scores)) * element_size


@formula("definition")
def copied_elements(*, width: Count, times: Count) -> Count:
    """Elements of a patch that are copied for a flash kernel."""
    return width * times


@formula("definition")
def in_turn(*, tower: Bytes, model: Bytes) -> Bytes:
    """The memory of two that work one after the other: the larger."""
    return np.maximum(tower, model)


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
