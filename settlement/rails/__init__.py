"""How instructions are settled: on our own ledger, or by an outside engine that our ledger follows."""
