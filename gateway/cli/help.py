"""How the help of a command shows its example."""


def example(*lines: str) -> str:
    """An epilog whose lines stay as they are: click would fill them like a paragraph."""
    text = "\n".join(["Example:", *(f"  {line}".rstrip() for line in lines)])
    return "\n\n".join(f"\b\n{block}" for block in text.split("\n\n"))
