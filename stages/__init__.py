"""One thin module per dvc.yaml stage: parse paths, load params, call cgn, write outputs."""
