"""What a request costs, by the table's list prices."""

from __future__ import annotations

from functools import cache

from qianda.models.catalog.entries import Model, table
from qianda.models.messages import Usage


@cache
def _priced() -> dict[str, Model]:
    return {model.name: model for model in table(("modelstudio",)) if model.prices}


def cost(usage: Usage, model: str) -> float | None:
    """USD of one request, an upper bound: what the server had cached counts in full.

    Args:
        usage: tokens of the request; requests must be counted one by one, as the price may rise with the input.
        model: Model Studio's name. A dated snapshot has a price of its own, so it is not taken for its model.

    Returns:
        The cost, or None when the price is not known.
    """
    row = _priced().get(model.lower().removesuffix("-latest"))
    price = row.price(usage.input_tokens) if row else None
    if price is None:
        return None
    return (usage.input_tokens * price.input + usage.output_tokens * price.output) / 1_000_000


def has_price(model: str) -> bool:
    """Whether the table has the price of a model."""
    return cost(Usage(), model) is not None
