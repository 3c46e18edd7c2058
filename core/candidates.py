"""Every way to run one model on the machines of a goal, as arrays: machine × runtime × weights × KV cache × split × offload, and users at
once × room for each of them where the goal leaves these open.

Only legal ones are laid out: what a runtime, a device or the model's shape forbids is counted and left out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from core.batch import CHUNK, Group
from core.catalog import hardware, models, quants, runtimes
from core.catalog.hardware import Device
from core.catalog.quants import QuantScheme
from core.catalog.runtimes import Runtime
from core.choices import default_model
from core.columns import columns, load_amounts, plain
from core.features import Traits, traits
from core.goal import Goal
from core.ir import ModelIR
from core.machine import Columns
from core.plan import NODE, broken_rules
from core.scenario import Deployment, Scenario, System
from core.setting import settle
from core.solve_caps import capped
from core.solve_machines import Machine
from core.solve_table import OF_MODEL, TABLE, Row
from core.suited import caches_for, moe, runtimes_for, weights_for
from core.units import GIB

# What may lie in host memory: as much as must (experts first), the experts of all layers, everything.
MODES = ("as needed", "all experts", "all layers")
LEAST = 1024  # candidates of a pass: fewer cost hardly less
ARRAYS = ("machine", "row", "quant", "tp", "pp", "dp", "ep", "mode")


@dataclass(slots=True)
class Space:
    """Candidates of one model. Arrays run along them; `machine`, `row`, `quant` and `mode` are places in the lists."""

    goal: Goal
    ir: ModelIR
    machines: Sequence[Machine]
    rows: list[tuple[Row, str, str | None]]  # columns, runtime, KV dtype (None: the runtime's own)
    quants: list[str]
    machine: np.ndarray
    row: np.ndarray
    quant: np.ndarray
    tp: np.ndarray
    pp: np.ndarray
    dp: np.ndarray
    ep: np.ndarray
    mode: np.ndarray
    illegal: int
    shape: np.ndarray  # of the row
    place: np.ndarray
    count: np.ndarray  # devices of the machine
    ram: np.ndarray  # bytes of the host as the machine says, NaN where it does not
    own: dict[str, Any]  # the model's columns
    weights: dict[Any, np.ndarray]  # bytes of each part along `quants`
    elements: dict[Any, float]
    batch: np.ndarray | None = None  # sequences that each replica is started for, all in use; None: as the goal's load has it
    room: np.ndarray | None = None  # tokens that each of them has room for; None: as the goal says
    away: np.ndarray = field(init=False)  # 1 where weights lie in host memory, as far as the memory pass has told
    kept: Any = field(default_factory=dict)  # what searches with other targets need again, by what it hangs on

    def __post_init__(self) -> None:
        self.away = np.zeros(len(self.machine), dtype=int)

    def __len__(self) -> int:
        return len(self.machine)

    @property
    def tariff(self) -> float:
        """What electricity is taken to cost where nobody says, USD a joule."""
        return float(TABLE.columns(int(self.shape[0]), self.place[:1]).tariff)

    def groups(self, index: np.ndarray, machines: np.ndarray) -> Iterator[tuple[np.ndarray, Group]]:
        """Candidates at `index`, each with so many machines, as groups for array passes, with their places in `index`.

        Like ones go together, for a pass leaves out what none of its candidates does: collectives, stages, weights on the host.
        """
        does = 8 * self.away[index] + 4 * (self.tp[index] > 1) + 2 * (self.pp[index] > 1) + (self.ep[index] > 1)
        for shape in np.unique(self.shape[index]):
            ours = np.flatnonzero(self.shape[index] == shape)
            ours = ours[np.argsort(does[ours], kind="stable")]
            for first in range(0, len(ours), CHUNK):
                at = ours[first : first + CHUNK]
                c = self._columns(int(shape), index[at], machines[at])
                yield at, Group(self.ir, self.goal.workload().arrival, np.arange(len(at)), c)

    def _columns(self, shape: int, index: np.ndarray, machines: np.ndarray) -> Columns:
        c = TABLE.columns(shape, self.place[index])
        vars(c).update(self.own)
        load = load_amounts(self.goal.workload())
        vars(c).update(load)
        stored = self.quant[index]
        c.weights = {key: sizes[stored] for key, sizes in self.weights.items()}
        c.elements = self.elements
        c.users = np.ceil(load["users"] / machines)
        if self.batch is not None:
            c.max_sequences, c.sequences_given = self.batch[index].astype(float), 1.0
            c.users = c.max_sequences * self.dp[index]
        c.rate = load["rate"] / machines
        c.max_context = float(self.goal.context) if self.room is None else self.room[index].astype(float)
        c.count = self.count[index]
        for name in ("tp", "pp", "dp", "ep"):
            setattr(c, name, getattr(self, name)[index].astype(float))
        mode = self.mode[index]
        c.experts_on_cpu = np.where(mode == 1, self.ir.layers, np.nan)
        c.gpu_layers = np.where(mode == 2, 0.0, np.nan)
        c.host_memory = np.where(np.isnan(self.ram[index]), c.host_memory, self.ram[index])
        return c

    def way(self, i: int, *, each: bool = False) -> tuple[object, ...]:
        """What tells a candidate from others in a list: its machine; of an owned one, and with `each`, also engine and quantisation, or
        how many users it serves at once where that is open."""
        m = int(self.machine[i])
        if not each and self.machines[m].side != "owned":
            return (m,)
        return m, self.rows[self.row[i]][1], int(self.quant[i] if each or self.batch is None else self.batch[i])

    def may_offload(self, index: np.ndarray) -> np.ndarray:
        """Whether weights may lie in host memory: not on rented machines, for nobody says which part of a host comes with them."""
        own = np.array([self.goal.offload and m.side != "cloud" for m in self.machines], dtype=bool)
        return own[self.machine[index]]

    def kinds(self, index: np.ndarray) -> list[Traits]:
        """What kind of thing each candidate is, for the correction."""
        return [_kind(self.rows[row][0].kind, _of_model(self.ir.id), self.quants[quant], count)
                for row, quant, count in zip(self.row[index], self.quant[index], self.count[index].astype(int), strict=True)]  # fmt: skip

    def scenario(self, i: int, machines: int) -> Scenario:
        """The candidate as a scenario of its own: one of so many machines, with its share of the load."""
        machine, (_, runtime, kv) = self.machines[self.machine[i]], self.rows[self.row[i]]
        many = machine.system.count > 1
        split = {name: int(getattr(self, name)[i]) for name in ("tp", "pp", "dp")} if many else {}
        deployment = Deployment(
            quant=self.quants[self.quant[i]],
            kv_dtype=kv,
            **split,
            ep=int(self.ep[i]) if self.ep[i] > 1 else None,
            experts_on_cpu=self.ir.layers if self.mode[i] == 1 else None,
            gpu_layers=0 if self.mode[i] == 2 else None,
            max_context=self.goal.context if self.room is None else int(self.room[i]),
            max_sequences=None if self.batch is None else int(self.batch[i]),
        )
        load = self.goal.workload(machines, None if self.batch is None else int(self.batch[i] * self.dp[i]))
        return Scenario(model=self.ir.id, system=machine.system, runtime=runtime, deployment=deployment,
                        workload=load, costs=machine.costs(self.goal))  # fmt: skip


@functools.lru_cache(maxsize=65536)
def _kind(kind: Traits, model: tuple[str, str, str], quant: str, count: int) -> Traits:
    scheme = quants.quant(quant)
    name, geometry, attention = model
    return replace(kind, model=name, geometry=geometry, attention=attention, quant=quant, kernel_class=scheme.kernel_class,
                   container=scheme.container, count=count)  # fmt: skip


@functools.lru_cache(maxsize=64)
def _of_model(model: str) -> tuple[str, str, str]:
    found = traits(Scenario(model=model, system=System(device="RTX 4090")))
    return found.model, found.geometry, found.attention


def space(goal: Goal, model: str, listed: Sequence[Machine]) -> Space:
    """The candidates of one model. Raises CatalogError for an unknown name."""
    ir = models.ir(model)
    blocks: list[dict[str, np.ndarray]] = []
    rows: list[tuple[Row, str, str | None]] = []
    place: dict[tuple[Any, ...], int | None] = {}
    schemes: dict[str, int] = {}
    illegal = 0
    for m, machine in enumerate(listed):
        device = hardware.device(machine.system.device)
        spec = _spec(machine.system, device)
        for runtime in runtimes_for(goal, device):
            layouts = _layouts(goal, ir, runtime, machine, device)
            options = []
            for quant in weights_for(ir.id, runtime.id, device, goal.quants):
                for kv in caches_for(goal, runtime.id, device):
                    scheme = quants.quant(quant)
                    key = (spec, runtime.id, *_weights_kind(scheme), kv, goal.workload().arrival)
                    if key not in place:
                        found = TABLE.row(key, _base(goal, spec, runtime.id, quant, kv))
                        place[key] = None if isinstance(found, str) else len(rows)
                        if not isinstance(found, str):
                            rows.append((found, runtime.id, kv))
                    if place[key] is None:
                        illegal += len(layouts)
                    else:
                        options.append((place[key], schemes.setdefault(quant, len(schemes))))
            if options and len(layouts):
                blocks.append(_block(m, np.array(options), layouts))
    arrays = {name: np.concatenate([b[name] for b in blocks]) if blocks else np.zeros(0, dtype=int) for name in ARRAYS}
    arrays, batch, room = capped(goal, ir.max_context, arrays)
    shapes = np.array([row.shape for row, _, _ in rows], dtype=int)
    places = np.array([row.place for row, _, _ in rows], dtype=int)
    names = list(schemes)
    own, weights, elements = _model_columns(ir, names)
    return Space(
        goal, ir, listed, rows, names, **arrays, illegal=illegal,
        shape=shapes[arrays["row"]] if rows else arrays["row"], place=places[arrays["row"]] if rows else arrays["row"],
        count=np.array([m.system.count for m in listed], dtype=float)[arrays["machine"]],
        ram=np.array([_ram(m.system) for m in listed])[arrays["machine"]],
        own=own, weights=weights, elements=elements, batch=batch, room=room,
    )  # fmt: skip


def _weights_kind(scheme: QuantScheme) -> tuple[str, str, str]:
    """What of a quantisation decides the columns of a row: 16 bits are checked against the device by name."""
    return scheme.container, scheme.kernel_class, scheme.id if scheme.kernel_class in ("f16", "bf16") else ""


def _block(m: int, options: np.ndarray, layouts: np.ndarray) -> dict[str, np.ndarray]:
    """Options × layouts of one machine and runtime."""
    many, each = len(options), len(layouts)
    found = {"machine": np.full(many * each, m), "row": np.repeat(options[:, 0], each), "quant": np.repeat(options[:, 1], each)}
    return found | {name: np.tile(layouts[:, n], many) for n, name in enumerate(("tp", "pp", "dp", "ep", "mode"))}


def _spec(system: System, device: Device) -> System:
    """What of a machine decides its columns, beside the number of its devices and the host's size."""
    whole = device.unified or device.kind == "cpu"
    changes: dict[str, Any] = {"instance": None}
    if not whole and system.ram_gb is not None:
        changes |= {"ram_gb": None, "count": 1}
    return system.model_copy(update=changes)


def _ram(system: System) -> float:
    """Bytes of the host where the machine says so itself, NaN where not or where they are the device's own."""
    device = hardware.device(system.device)
    return float("nan") if system.ram_gb is None or device.unified or device.kind == "cpu" else system.ram_gb * GIB


def _base(goal: Goal, spec: System, runtime: str, quant: str, kv: str | None) -> Scenario:
    """A scenario that has the row's columns: of any model, one whose weights are published in no format of their own."""
    alone = Deployment(quant=quant, kv_dtype=kv, tp=1, pp=1)
    return Scenario(model=default_model(), system=spec, runtime=runtime, deployment=alone, workload=goal.workload())


def _model_columns(ir: ModelIR, schemes: Sequence[str]) -> tuple[dict[str, Any], dict[Any, np.ndarray], dict[Any, float]]:
    """The model's own columns, the bytes of each of its parts along the schemes, and its elements."""
    own: dict[str, Any] = {}
    weights: list[dict[Any, float]] = []
    elements: dict[Any, float] = {}
    for scheme in schemes:
        container = quants.quant(scheme).container
        runtime = next(r for r in runtimes.runtimes().values() if any(container in b.containers for b in r.backends.values()))
        stand_in = Scenario(model=ir.id, system=System(device="RTX 4090"), runtime=runtime.id, deployment=Deployment(quant=scheme))
        c = plain(columns(settle(stand_in, strict=False)))
        own = own or {name: getattr(c, name) for name in OF_MODEL}
        weights.append(c.weights)
        elements |= c.elements
    keys = dict.fromkeys(key for parts in weights for key in parts)
    return own, {key: np.array([parts.get(key, 0.0) for parts in weights]) for key in keys}, elements


# ---------------------------------------------------------------- layouts


def _layouts(goal: Goal, ir: ModelIR, entry: Runtime, machine: Machine, device: Device) -> np.ndarray:
    """Legal splits × what may be offloaded; rows of (tp, pp, dp, ep, mode)."""
    alone = device.unified or device.kind == "cpu" or machine.side == "cloud"
    modes = [0]
    if goal.offload and entry.offload == "layers" and not alone:
        modes = [0, 2, *([1] if moe(ir) and entry.experts_offload else [])]
    users = 4096 if goal.open_users or goal.request_rate_per_s is not None else goal.users
    return _laid_out(ir.id, entry.id, machine.system.count, tuple(modes), users)


@functools.lru_cache(maxsize=4096)
def _laid_out(model: str, runtime: str, count: int, modes: tuple[int, ...], users: int) -> np.ndarray:
    splits = [split for split in _splits(models.ir(model), runtimes.runtime(runtime), count) if split[2] <= users]
    return np.array([(*split, mode) for split in splits for mode in modes], dtype=int).reshape(-1, 5)


def _splits(ir: ModelIR, entry: Runtime, count: int) -> Iterator[tuple[int, int, int, int]]:
    """Legal (tp, pp, dp, ep) of up to `count` devices: replicas take what a copy leaves."""
    sizes = [n for n in range(1, count + 1) if n == count or n & (n - 1) == 0]
    if entry.device_split == "none":
        yield 1, 1, 1, 1
        return
    if entry.device_split == "layer":  # no run tells what it gains where such an engine cuts tensors, so it is not offered
        yield from ((1, pp, 1, 1) for pp in sizes if pp <= ir.layers)
        return
    for tp in (n for n in range(1, min(count, NODE) + 1)):
        for pp in (n for n in sizes if tp * n <= count):
            if (tp not in sizes and count % tp) or ("pp" not in entry.splits and pp > 1):
                continue
            dp = count // (tp * pp) if "dp" in entry.splits else 1
            for ep in dict.fromkeys((1, tp * dp if "ep" in entry.splits and pp == 1 else 1)):
                if not broken_rules(ir, tp, pp, ep, dp):
                    yield tp, pp, dp, ep
