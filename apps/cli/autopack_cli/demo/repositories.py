"""The three repositories of the demo: Python with pip, Node with npm, and both in one. None needs a network."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from autopack_cli.demo.gitimport import Commit, make_repository

__all__ = ["make_mixed", "make_node", "make_python"]

WHEEL = "tinytext-1.0.0-py3-none-any.whl"
_EPOCH = (2024, 1, 1, 0, 0, 0)
_GITIGNORE = b".venv/\nnode_modules/\n__pycache__/\n"
_REQUIREMENTS = b"--no-index\n--find-links vendor\ntinytext==1.0.0\n"

_LABELS = '''"""Labels for parcels."""

from tinytext import shorten


def label(title, width=20):
    """The title, cut to the width of a label."""
    return shorten(title, width)
'''
_TEST_LABELS = """import unittest

from shop.labels import label


class LabelTest(unittest.TestCase):
    def test_long_title_is_cut(self):
        self.assertEqual(label("A very long title indeed", 11), "A very long")


if __name__ == "__main__":
    unittest.main()
"""
_TEST_CART = """import unittest

from shop import cart


class CartTest(unittest.TestCase):
    def test_lines_of_the_same_sku_are_added_up(self):
        self.assertEqual(cart.add_line({"tea": 1}, "tea", 2), {"tea": 3})

    def test_subtotal_is_the_sum_of_prices(self):
        self.assertEqual(cart.subtotal({"tea": 2}, {"tea": 4}), 8)


if __name__ == "__main__":
    unittest.main()
"""
_PRICES = '''"""Prices."""


def with_tax(net, rate):
    """Gross price."""
    return round(net * (1 + rate), 2)
'''
_TINYTEXT = '''def shorten(text, width):
    """The first characters, at most so many."""
    return text[:width].rstrip()
'''
_MAKEFILE = b".PHONY: test\ntest:\n\tpython -m unittest discover -s tests\n"


def make_python(path: Path) -> None:
    """A shop in Python: sixty commits about ten topics, and one dependency, in ``vendor/``."""
    commits = [
        Commit(
            "Begin the shop",
            {
                ".gitignore": _GITIGNORE,
                "README.md": b"# Shop\n\nRun the tests with `make test`.\n",
                "Makefile": _MAKEFILE,
                "requirements.txt": _REQUIREMENTS,
                f"vendor/{WHEEL}": _wheel(),
                "shop/__init__.py": b'"""A small shop."""\n',
                "shop/labels.py": _LABELS.encode(),
                "tests/__init__.py": b"",
                "tests/test_labels.py": _TEST_LABELS.encode(),
                "ops/deploy.sh": b"#!/bin/sh\nset -e\nrsync -a ./ shop.example:/srv/shop/\n",
            },
        ),
        *_history(),
        Commit("Test the cart", {"tests/test_cart.py": _TEST_CART.encode()}),
    ]
    make_repository(path, commits)


def make_node(path: Path) -> None:
    """A shop window in JavaScript, with one dependency by path."""
    make_repository(path, [Commit("Begin the shop window", _node_files("shop-window"))])


def make_mixed(path: Path) -> None:
    """An API in Python in ``api/`` and its page in JavaScript in ``web/``."""
    api = {
        "api/requirements.txt": b"# nothing but the standard library\n",
        "api/prices.py": _PRICES.encode(),
        "api/tests/__init__.py": b"",
        "api/tests/test_prices.py": (
            b"import unittest\n\nfrom prices import with_tax\n\n\nclass PricesTest(unittest.TestCase):\n"
            b"    def test_tax_is_added(self):\n        self.assertEqual(with_tax(10, 0.21), 12.1)\n"
        ),
    }
    web = {f"web/{name}": content for name, content in _node_files("shop-page").items() if name != ".gitignore"}
    files = {".gitignore": _GITIGNORE, "README.md": b"# Shop\n\n`api/` and `web/`.\n", **api, **web}
    make_repository(path, [Commit("Begin the API and its page", files)])


def _history() -> Iterator[Commit]:
    """One commit for each line of ``history.txt``: a function more in the module of its topic."""
    modules: dict[str, str] = {}
    for line in (resources.files(__package__) / "history.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        topic, signature, expression, message = (part.strip() for part in line.split(" | ", 3))
        text = modules.get(topic) or f'"""{topic.capitalize()} of the shop."""\n'
        modules[topic] = f'{text}\n\ndef {signature}:\n    """{message}."""\n    return {expression}\n'
        yield Commit(message, {f"shop/{topic}.py": modules[topic].encode()})


def _node_files(name: str) -> dict[str, bytes]:
    package = {
        "name": name,
        "version": "1.0.0",
        "private": True,
        "scripts": {"test": "node test/cart.test.js"},
        "dependencies": {"tiny-money": "file:packages/tiny-money"},
    }
    root = {"name": name, "version": "1.0.0", "dependencies": package["dependencies"]}
    lock = {
        "name": name,
        "version": "1.0.0",
        "lockfileVersion": 3,
        "requires": True,
        "packages": {
            "": root,
            "node_modules/tiny-money": {"resolved": "packages/tiny-money", "link": True},
            "packages/tiny-money": {"version": "1.0.0"},
        },
    }
    return {
        ".gitignore": _GITIGNORE,
        ".npmrc": b"audit=false\nfund=false\nupdate-notifier=false\n",
        "package.json": _json(package),
        "package-lock.json": _json(lock),
        "packages/tiny-money/package.json": _json({"name": "tiny-money", "version": "1.0.0", "main": "index.js"}),
        "packages/tiny-money/index.js": b"exports.euro = (cents) => `EUR ${(cents / 100).toFixed(2)}`;\n",
        "src/cart.js": (
            b"const { euro } = require('tiny-money');\n\n"
            b"exports.total = (lines) => euro(lines.reduce((sum, line) => sum + line.cents * line.quantity, 0));\n"
        ),
        "test/cart.test.js": (
            b"const assert = require('assert');\nconst { total } = require('../src/cart');\n\n"
            b"assert.strictEqual(total([{ cents: 250, quantity: 2 }]), 'EUR 5.00');\nconsole.log('1 test passed');\n"
        ),
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _wheel() -> bytes:
    """A wheel of one module, built here so that nothing is downloaded; the same bytes each time."""
    info = "tinytext-1.0.0.dist-info"
    files = {
        "tinytext.py": _TINYTEXT,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tinytext\nVersion: 1.0.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), text)
    return buffer.getvalue()
