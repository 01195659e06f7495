"""The benchmark: a face database in, the tables of the SmartBox paper out, each with its threat model named."""

from smartbox.benchmark._benchmark import Benchmark
from smartbox.benchmark._results import Results

__all__ = ["Benchmark", "Results"]
