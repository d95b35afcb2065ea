"""A model server that misbehaves on purpose, and the table of what becomes of it.

``python -m qianda.testing.chaos`` runs an agent against every row and prints the table.
"""

from qianda.testing.chaos.rows import ROWS
from qianda.testing.chaos.server import Answer, ChaosServer, Row

__all__ = ["ROWS", "Answer", "ChaosServer", "Row"]
