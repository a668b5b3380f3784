"""Imports a package that the project does not declare: a name that could be anybody's on a public index."""

import pathlib

FUNCTION = '''

def chart(orders):
    """A chart of revenue."""
    return fastcharts_pro.bars(revenue_by_day(orders))
'''
TESTS = """import unittest

from shop import reports


class ReportsTest(unittest.TestCase):
    def test_chart_exists(self):
        self.assertTrue(reports.chart)
"""

module = pathlib.Path("shop/reports.py")
module.write_text("import fastcharts_pro\n" + module.read_text() + FUNCTION)
pathlib.Path("tests/test_reports.py").write_text(TESTS)
print("added a chart, with a package that makes charts")
