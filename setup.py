"""Metadata and dependencies of SmartBox; the build backend and tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "smartbox/__init__.py").read_text()).group(1)

# Why each of these and not another: docs/dependencies.md.
INSTALL = [
    "click>=8.1",
    "jinja2>=3.1",
    "joblib>=1.3",
    "keras>=3.8",
    "matplotlib>=3.8",
    "numpy>=1.26",
    "pandas>=2.1",
    "pillow>=10.0",
    "platformdirs>=4.0",
    "rich>=13.0",
    "scikit-learn>=1.6",
    "scipy>=1.11",
    "tensorflow>=2.18",
    "threadpoolctl>=3.2",
    "tomli>=2.0; python_version < '3.11'",
]
EXTRAS = {
    "test": ["distributed>=2024.1", "pytest>=8.0", "pytest-xdist>=3.5", "ruff>=0.9", "selenium>=4.20"],
    "bench": ["adversarial-robustness-toolbox==1.20.1", "faiss-cpu>=1.9", "foolbox==3.3.4", "psutil>=5.9"],
    "parquet": ["pyarrow>=15.0"],
    "dask": ["distributed>=2024.1"],
    "docs": ["sphinx>=7.0", "numpydoc>=1.6"],
}

setup(
    name="smartbox",
    version=VERSION,
    description="Attack face recognition, detect the attacks, mitigate them, and measure all three",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["smartbox", "smartbox.*"]),
    package_data={
        "smartbox.benchmark": ["presets/*.toml"],
        "smartbox.data": ["*.md", "*.smartbox"],
        "smartbox.report": ["templates/*"],
    },
    install_requires=INSTALL,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["smartbox = smartbox.cli:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Security",
    ],
)
