"""Shape checks are on in every test: annotations of cgn's functions are enforced at run time."""

from jaxtyping import install_import_hook

install_import_hook("cgn", "beartype.beartype")
