"""The table of attacks in the documents counts what the tests try."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("tests/test_tools_workspace.py", "WAYS_OUT"),
        ("tests/test_tools_permissions_smuggling.py", "SMUGGLED"),
        ("tests/test_tools_permissions_smuggling.py", "LEAKING"),
        ("tests/test_tools_net.py", "FORMS"),
        ("tests/test_tools_net.py", "PRIVATE"),
        ("tests/test_tools_secrets.py", "KEYS"),
        ("tests/system/test_sandbox_attacks.py", "ATTACKS"),
    ],
)
def test_the_number_of_forms_is_that_of_the_tests(house: Path, file: str, name: str) -> None:
    rows = re.findall(rf"\| (\d+) \|.*\(\.\./{re.escape(file)}\)", (house / "docs/security.md").read_text())
    forms = next(
        node.value
        for node in ast.parse((house / file).read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    assert isinstance(forms, ast.List | ast.Dict)
    assert str(len(forms.elts if isinstance(forms, ast.List) else forms.values)) in rows
