"""Print the N-th command block of a README: ``python readme_command.py README.md 2``."""

import re
import sys
from pathlib import Path

blocks = re.findall(r"^```bash\n(.*?)^```", Path(sys.argv[1]).read_text(), flags=re.DOTALL | re.MULTILINE)
print(blocks[int(sys.argv[2]) - 1].strip())
