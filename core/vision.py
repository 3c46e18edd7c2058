"""Images in a prompt, from tower to time: whether an engine loads the tower, what it holds, and what an image costs.

The numbers are columns like the others (`vision_columns`); without a tower, or where the engine leaves it out, all are 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.answer import Op
from core.catalog.assumptions import assume
from core.catalog.files import source
from core.errors import ScenarioError
from core.formulas.ops import attention_flop, linear_flop
from core.formulas.roofline import attention_time, bound_time, compute_time, fixed_time, memory_time
from core.formulas.vision import (
    all_image_tokens,
    copied_elements,
    flop_share,
    grid_tokens,
    image_patches,
    image_prompt,
    images_bytes,
    images_flop,
    images_in_step,
    images_time,
    in_turn,
    patch_elements,
    patch_pairs,
    patch_scores,
    patches_at_once,
    tower_buffer,
)
from core.formulas.weights import stored_bytes
from core.image_rules import image_grid
from core.ir_tower import KINDS, Tower
from core.picked import like, pick, plain, solved
from core.quantity import Quantity, Source, leaf, total, value

if TYPE_CHECKING:
    from core.catalog.runtimes import Runtime
    from core.ir import ModelIR
    from core.machine import Columns
    from core.phases import Times
    from core.scenario import Scenario
    from core.setting import Setting

OP = "vision tower"


def tower_loaded(scenario: Scenario, ir: ModelIR, runtime: Runtime, *, strict: bool) -> bool:
    """Whether the engine loads the model's tower: as said, else where images are asked for, else as the runtime does.

    `strict` raises ScenarioError where images or a tower are asked of a model or a runtime that has none.
    """
    said, images = scenario.deployment.vision, scenario.workload.images
    if strict and (images or said):
        _check(scenario, ir, runtime)
    if ir.tower is None or runtime.vision == "no":
        return False
    if said is not None:
        return said
    return runtime.vision == "default" or images > 0


def _check(scenario: Scenario, ir: ModelIR, runtime: Runtime) -> None:
    images = scenario.workload.images
    asked, instead = ("images", "set images to 0") if images else ("vision", "leave vision out")
    if ir.tower is None:
        why = ir.assumed.get("vision_config")
        raise ScenarioError(f"{ir.id} has no vision tower that is known{f' ({why})' if why else ''}, so it reads no images: {instead}.")
    if runtime.vision == "no":
        raise ScenarioError(f"{runtime.name} loads no vision tower, so it reads no images: {instead}, or choose vLLM or llama.cpp.")
    if asked == "images" and scenario.deployment.vision is False:
        raise ScenarioError("Images need the vision tower, and vision is off: set images to 0, or leave vision to the runtime.")
    needed, given = tokens_needed(scenario, ir), scenario.deployment.max_context
    if images and given is not None and needed > given:
        raise ScenarioError(
            f"With {images} image{'s' if images > 1 else ''} a sequence takes {needed:,} tokens, but max_context is {given:,}: "
            "raise it, or ask for fewer or smaller images."
        )


def image_tokens(scenario: Scenario, ir: ModelIR) -> int:
    """Tokens of one image of the scenario; 0 for a model without a tower."""
    if ir.tower is None:
        return 0
    grid = image_grid(ir.tower.rule, *scenario.workload.pixels)
    return grid.tiles * grid.rows * (grid.columns + ir.tower.rule.row_ends)


def tokens_needed(scenario: Scenario, ir: ModelIR) -> int:
    """Tokens in a sequence's cache when it ends, those of its images too."""
    load = scenario.workload
    return load.context + (load.images * image_tokens(scenario, ir) if load.images else 0)


def vision_columns(setting: Setting, text: Quantity) -> dict[str, Any]:
    """The columns of the tower (0 where none is loaded), and the prompt with its images; `text` is the prompt without."""
    tower, load = setting.ir.tower, setting.scenario.workload
    nothing = ("tower", "tower_sharded", "tower_layers", "images", "image_tokens", "image_flop", "image_attention")
    found: dict[str, Any] = dict.fromkeys((*nothing, "patch_elements", "patch_scores", "patch_copies"), 0.0)
    # Beside loads with images in one pass: divisors, of no work.
    found |= {"prompt": text, "image_patches": 1.0, "image_tiles": 1.0}
    if tower is None or not setting.vision:
        return found
    shapes = source("tensor-shapes", note=f"the vision tower of {setting.ir.id}")

    def config(name: str, amount: float) -> Quantity:
        return leaf(name, float(amount), "", "model_config", shapes)

    found |= {
        "tower": tower_bytes(tower, setting.ir.id),
        "tower_sharded": float(setting.runtime.vision_shards),
        "tower_layers": config("layers of the tower", tower.layers),
    }
    if not load.images:
        return found
    width, height = load.pixels
    grid = image_grid(tower.rule, width, height)
    size = leaf("image size", float(width * height), "", *_said_size(setting))
    cut = source("transformers-images", note=f"{width} × {height} pixels as the preprocessor of {tower.kind} towers cuts them")

    def cut_into(name: str, amount: int) -> Quantity:
        return Quantity(name, float(amount), "", kind="solved", source=cut, inputs={size.name: size})

    rows, columns = cut_into("rows of tokens", grid.rows), cut_into("columns of tokens", grid.columns)
    tiles = cut_into("tiles of an image", grid.tiles)
    images = leaf("images", float(load.images), "", "user", Source("user", "You said so", default=0.0))
    each = grid_tokens(tiles=tiles, rows=rows, columns=columns, row_ends=config("a token behind each row", float(tower.rule.row_ends)),
                       named="tokens of an image")  # fmt: skip
    patches = image_patches(tiles=tiles, rows=rows, columns=columns, merge=config("patches to a token's side", tower.merge),
                            named="patches of an image")  # fmt: skip
    pairs = patch_pairs(
        patches=patches, tiles=tiles, full=config("layers that see a whole tile", tower.layers - tower.windowed),
        windowed=config("layers that see windows", tower.windowed), window=config("patches of a window", tower.window),
    )  # fmt: skip
    head = config("width of a head", tower.width // tower.heads)
    width_of = config("width of the tower", tower.width)
    heads, matrices = config("heads of the tower", tower.heads), 1 + KINDS[tower.kind].gated
    found |= {
        "images": images,
        "image_tokens": all_image_tokens(images=images, tokens_each=each, named="tokens of the images"),
        "image_patches": patches,
        "image_tiles": tiles,
        "patch_elements": patch_elements(
            width=width_of, inner=config("inner width of the tower", tower.inner),
            matrices=config("rows of its MLP held at once", matrices), named="elements of a patch inside a layer"),
        "patch_copies": copied_elements(width=width_of, times=assume("tower_copies"), named="elements copied for a flash kernel"),
        "patch_scores": patch_scores(heads=heads, patches=patches, tiles=tiles, named="attention scores of a patch"),
        "image_flop": total(
            [
                linear_flop(tokens=patches, elements=config("elements of the tower's layers", tower.elements("layers"))),
                linear_flop(tokens=each, elements=config("elements of its projector", tower.elements("projector"))),
            ],
            "FLOP of an image in the tower's matrices",
            "FLOP",
        ),
        "image_attention": attention_flop(pairs=pairs, heads=heads, key_width=head, value_width=head,
                                          named="FLOP of an image in the tower's attention"),
        "prompt": image_prompt(text=text, images=images, tokens_each=each, named="prompt with images"),
    }  # fmt: skip
    return found


def _said_size(setting: Setting) -> tuple[Any, Source]:
    default = type(setting.scenario.workload).model_fields["image_size"].default
    if setting.scenario.workload.image_size == default:
        return "assumption", Source("default", f"{default} pixels, Roofcast's default, unless you say otherwise", guess=True)
    return "user", Source("user", "You said so")


def tower_bytes(tower: Tower, model: str) -> Quantity:
    """Bytes of the tower as loaded: as the file's header has them, else 16 bits an element, marked as an assumption."""
    shapes = source("tensor-shapes", note=f"the vision tower of {model}")
    elements = leaf("elements of the vision tower", float(tower.parameters), "", "model_config", shapes)
    if tower.stored_bytes is not None:
        cited = source("model-files", note=f"bytes in the header of {model}")
        bits = leaf("bits of the tower", tower.stored_bytes * 8 / tower.parameters, "bit", "model_config", cited)
    else:
        note = "quantisers leave towers in 16 bits, and engines load them so"
        bits = leaf("bits of the tower", 16.0, "bit", "assumption", source("vision-assumptions", guess=True, note=note, low=8.0, high=32.0))
    found: Quantity = stored_bytes(elements=elements, bits=bits, named="vision tower")
    return found


def with_images(c: Columns, buffers: Any) -> Any:
    """Bytes of a device's compute buffers where the tower works on images beside the model; `buffers` are the model's.

    llama.cpp keeps buffers of its own for the tower, which works on one tile after the other. Servers work on as many images
    as a step's tokens allow, and measure what that needs when they start: the larger of tower and model counts.
    """
    images = np.asarray(value(c.images))
    if not np.any(images > 0):
        return buffers
    each = value(c.image_tokens) / np.maximum(images, 1.0)
    asked = images * np.maximum(value(c.users) / value(c.dp), 1.0)
    budget = np.nan_to_num(np.asarray(value(c.token_budget), dtype=float), nan=1.0)
    in_step = np.minimum(asked, np.maximum(np.floor(budget / np.maximum(each, 1.0)), 1.0))
    note = "as many as a step's tokens allow, up to those that users ask"
    many = solved("images the tower takes at once", plain(in_step), "", note, c.images, c.images, c.users, c.token_budget)
    tile = solved("one tile of an image", plain(1.0 / np.asarray(value(c.image_tiles))), "", "1 ÷ tiles", c.images, c.image_tiles)
    one = like(1.0, c.images, "one")
    own = tower_buffer(
        patches=patches_at_once(images=one, patches=c.image_patches, share=tile, named="patches of a tile"),
        elements=c.patch_elements,
        scores=c.patch_scores,
        copies=c.patch_copies,
        flash=c.flash,
        element_size=like(4.0, c.tower, "bytes of ggml's floats"),
        named="the tower's compute buffer",
    )
    of_step = tower_buffer(
        patches=patches_at_once(images=many, patches=c.image_patches, share=one, named="patches in a step"),
        elements=c.patch_elements,
        scores=c.patch_scores,
        copies=like(0.0, c.images, "nothing copied"),
        flash=one,
        element_size=c.act_size,
        named="the tower's activations",
    )
    together = total([buffers, own], "compute buffers of model and tower")
    larger = in_turn(tower=of_step, model=buffers, named="activation peak of tower and model")
    return pick(plain((images > 0).astype(float)), pick(c.buffered, together, larger), buffers)


def tower_op(times: Times) -> Op | None:
    """The tower's part of a step that carries prompts: one for all the images that come with them. None without images."""
    c, w, plan = times.c, times.work, times.plan
    if not np.any(np.asarray(value(c.images)) > 0) or not times.prefill:
        return None
    gpu = c.gpu
    peak = times.peak(type(c)(peak=gpu.attention_peak, name=gpu.name))
    flop = flop_share(flop=c.image_flop, ranks=plan.tower_ranks, named="FLOP of an image in a rank's matrices")
    scores = flop_share(flop=c.image_attention, ranks=plan.tower_ranks, named="FLOP of an image in a rank's attention")
    compute = compute_time(flop=flop, peak=peak, efficiency=gpu.compute_efficiency, tokens=c.image_patches, half=gpu.compute_half)
    memory = memory_time(bytes_moved=plan.tower_bytes, bandwidth=gpu.bandwidth, efficiency=gpu.weights_efficiency)
    attending = attention_time(flop=scores, peak=peak, efficiency=gpu.attention_efficiency, length=c.image_patches,
                               half=gpu.attention_half, named="attention between patches")  # fmt: skip
    launches = fixed_time(each=gpu.layer_overhead, times=c.tower_layers, named="layers of the tower")
    each = total([bound_time(compute=compute, memory=memory, named="matrices of the tower"), attending, launches], "time of an image")
    images = images_in_step(images=c.images, prompts=w.prompts, chunks=w.chunks, stages=c.pp, named="images in a step")
    return times.op(
        OP, None, value(c.tower_layers),
        images_flop(each=total([flop, scores], "FLOP of an image"), images=images, named="FLOP of the tower"),
        images_bytes(each=plan.tower_bytes, images=images, named="bytes of the tower"),
        images_time(each=total([compute, attending], "arithmetic of an image"), images=images),
        images_time(each=memory, images=images),
        images_time(each=each, images=images, named=OP),
        "compute",
    )  # fmt: skip
