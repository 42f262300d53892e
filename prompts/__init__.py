"""The prompts an MCP client can offer, one Markdown file each, and their loader.

A file opens with a head between `---` lines: title, description, and any number of lines
`argument: name | description | required or optional`. Then comes the text, in which `$name` stands for an
argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from string import Template

#: Longest argument that is put into a text.
ARGUMENT_MAX = 500


@dataclass(frozen=True, slots=True)
class PromptArgument:
    """What a prompt may be told."""

    name: str
    description: str
    required: bool


@dataclass(frozen=True, slots=True)
class PromptFile:
    """One prompt."""

    name: str
    title: str
    description: str
    arguments: tuple[PromptArgument, ...]
    text: str

    def render(self, values: Mapping[str, str]) -> str:
        """The text with arguments in place; absent ones leave nothing behind."""
        shown = {
            argument.name: f'\n\nThe user\'s words: "{_flat(values[argument.name])}"'
            if values.get(argument.name)
            else ""
            for argument in self.arguments
        }
        return Template(self.text).substitute(shown)


def _flat(words: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in words)
    return " ".join(printable.split())[:ARGUMENT_MAX].replace('"', "'")


def load_prompts() -> tuple[PromptFile, ...]:
    """Every prompt of this folder, by name."""
    found = [
        parse_prompt(entry.name.removesuffix(".md"), entry.read_text(encoding="utf-8"))
        for entry in files("prompts").iterdir()
        if entry.name.endswith(".md")
    ]
    return tuple(sorted(found, key=lambda prompt: prompt.name))


def parse_prompt(name: str, source: str) -> PromptFile:
    """One file.

    Raises:
        ValueError: the head is missing, incomplete or says something unknown.
    """
    opening, _, rest = source.partition("---\n")
    head, closed, text = rest.partition("---\n")
    if opening or not closed:
        raise ValueError(f"{name}.md does not open with a head between --- lines")
    fields: dict[str, str] = {}
    arguments: list[PromptArgument] = []
    for line in head.splitlines():
        key, _, value = line.partition(":")
        if key == "argument":
            arguments.append(_argument(name, value))
        elif key in ("title", "description"):
            fields[key] = value.strip()
        else:
            raise ValueError(f"{name}.md: unknown line {line!r} in the head")
    if fields.keys() != {"title", "description"} or not text.strip():
        raise ValueError(f"{name}.md needs a title, a description and a text")
    return PromptFile(name, fields["title"], fields["description"], tuple(arguments), text.strip())


def _argument(name: str, value: str) -> PromptArgument:
    parts = [part.strip() for part in value.split("|")]
    if len(parts) != 3 or parts[2] not in ("required", "optional"):
        raise ValueError(f"{name}.md: an argument is `name | description | required or optional`")
    return PromptArgument(parts[0], parts[1], parts[2] == "required")
