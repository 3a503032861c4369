"""Print the lower bounds of setup.cfg as constraints for pip: the oldest versions that we promise to work with.

python .ci/oldest.py > oldest.txt && pip install -c oldest.txt -e '.[test]'
"""

import configparser
import re
from pathlib import Path

config = configparser.ConfigParser(interpolation=None)
config.read(Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")
needed = config["options"]["install_requires"] + config["options.extras_require"]["test"]
bounds: dict[str, str] = {}
for line in needed.splitlines():
    if found := re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?[^#]*?>=([0-9.]+)", line.strip()):
        bounds.setdefault(found[1], found[2])
print("\n".join(f"{name}=={lowest}" for name, lowest in bounds.items()))
