"""Events over HTTP: planned per endpoint, signed, sent in order per window, in the end given up."""
