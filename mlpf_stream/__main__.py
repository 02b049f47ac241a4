"""`python -m mlpf_stream` is `mlpf`."""

from mlpf_stream.cli import main

main()
