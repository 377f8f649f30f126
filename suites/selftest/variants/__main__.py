"""Print which property catches which wrong variant, as the page docs/wrong-variants.md shows it.

``python -m suites.selftest.variants > docs/wrong-variants.md``
"""

import sys

from suites.selftest.variants import page

sys.stdout.write(page())
