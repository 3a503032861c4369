from setuptools import find_packages, setup

# The configs have one source, /configs; a wheel holds them inside the package, where `shipped.py` looks for them.
setup(
    packages=[
        *find_packages(include=["lightning_subliminal", "lightning_subliminal.*"]),
        "lightning_subliminal.configs",
    ],
    package_dir={"lightning_subliminal.configs": "configs"},
)
