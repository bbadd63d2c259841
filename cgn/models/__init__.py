"""Networks only; what trains them lies in generators/ and classifiers/."""
