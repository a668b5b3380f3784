"""Changes the API of the mixed repository."""

import pathlib

FUNCTION = '''

def without_tax(gross, rate):
    """Net price."""
    return round(gross / (1 + rate), 2)
'''

module = pathlib.Path("api/prices.py")
module.write_text(module.read_text() + FUNCTION)
print("added without_tax")
