"""Tables as LaTeX, in the form of the paper: one tabular per table, for the packages booktabs and amssymb."""

from collections.abc import Sequence

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
}
_SIGNS = {
    "±": r"$\pm$",
    "\N{EN DASH}": "--",
    "·": r"$\cdot$",
    "\N{GREEK SMALL LETTER MU}": r"$\mu$",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
}
_ESCAPES = str.maketrans({**_SPECIAL, **_SIGNS, "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"})


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return text.translate(_ESCAPES)


def tabular(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """One table: a comment with its title, then a tabular whose first column is aligned to the left."""
    lines = [
        f"% {title}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        _line(header),
        r"\midrule",
        *(_line(row) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _line(fields: Sequence[str]) -> str:
    return " & ".join(escape(field) for field in fields) + r" \\"
