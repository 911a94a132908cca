"""What XGBoost can be asked of a row, by the numbers that its C interface has for them."""

import enum


class Kind(enum.IntEnum):
    """A kind of prediction."""

    VALUE = 0
    MARGIN = 1
    CONTRIBUTIONS = 2
    LEAF = 6
