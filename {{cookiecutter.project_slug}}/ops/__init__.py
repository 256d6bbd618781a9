"""What an operator types: one program, ``python -m ops <verb>``, from the root of the project."""

import sys
from pathlib import Path

# The modules below import the workflow from the source tree, as it is.
sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
