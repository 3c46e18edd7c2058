"""Pure, cited formulas. They import only `core.units` and `core.quantity`."""
