"""Makes the template's package importable in place, as `slipway_template`."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "template" / "src" / "{{ package_name }}"

IN_PLACE = ROOT / "build" / "in-place"
IN_PLACE.mkdir(parents=True, exist_ok=True)
link = IN_PLACE / "slipway_template"
if not link.is_symlink():
    link.symlink_to(PACKAGE)
sys.path.insert(0, str(IN_PLACE))
