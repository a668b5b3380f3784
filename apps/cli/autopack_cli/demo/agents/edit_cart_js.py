"""Changes the JavaScript cart; the tests need the declared dependency, which nobody has installed."""

import pathlib
import sys

root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
module = root / "src/cart.js"
module.write_text(
    module.read_text() + "\nexports.count = (lines) => lines.reduce((sum, line) => sum + line.quantity, 0);\n"
)
print("added count to the cart")
