"""Changes labels; the tests need the declared dependency, which nobody has installed."""

import pathlib

FUNCTION = '''

def return_label(order, width=20):
    """The label of a parcel that comes back."""
    return shorten(f"RETURN {order}", width)
'''

module = pathlib.Path("shop/labels.py")
module.write_text(module.read_text() + FUNCTION)
print("added return_label")
