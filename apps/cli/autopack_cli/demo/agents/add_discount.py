"""A good agent: does what the goal says, with a test, and commits it."""

import pathlib
import subprocess

FUNCTION = '''

def discounted_total(cart, prices, percent):
    """The subtotal of the cart less a discount of so many percent."""
    return round(subtotal(cart, prices) * (100 - percent) / 100, 2)
'''
TEST = """
    def test_discount_of_ten_percent_is_taken_off_the_cart_total(self):
        self.assertEqual(cart.discounted_total({"tea": 2}, {"tea": 5}, percent=10), 9)

"""

module = pathlib.Path("shop/cart.py")
module.write_text(module.read_text() + FUNCTION)
tests = pathlib.Path("tests/test_cart.py")
tests.write_text(tests.read_text().replace('\n\nif __name__ == "__main__":', TEST + '\nif __name__ == "__main__":', 1))
subprocess.run(
    ["git", "commit", "--quiet", "--all", "--message", "Add a percentage discount to the cart total"], check=True
)
print("added discounted_total to the cart, and a test")
