"""What a numpydoc docstring says, for the command line."""

import inspect
import re

# Author. "Title", venue and year; what follows, such as the equations, is for those who read the code.
_CITATION = re.compile(r'.*?".*?",.*?\b(?:19|20)\d\d\b')


def summary_line(cls):
    """The first line of the docstring."""
    return _plain(inspect.getdoc(cls).splitlines()[0])


def section(cls, title):
    """Lines of a section, none where there is no such section."""
    lines = inspect.getdoc(cls).splitlines()
    marks = [i for i, line in enumerate(lines) if line and set(line) == {"-"}]
    ends = [*(i - 1 for i in marks[1:]), len(lines)]
    for mark, end in zip(marks, ends, strict=True):
        if lines[mark - 1] == title:
            return [_plain(line) for line in lines[mark + 1 : end]]
    return []


def parameters(cls):
    """``(name, type and default, description)`` of each parameter that is described."""
    found = []
    for line in section(cls, "Parameters"):
        if line and not line.startswith(" "):
            name, _, kind = line.partition(" : ")
            found.append((name, kind, []))
        elif line:
            found[-1][2].append(line.strip())
    return [(name, kind, " ".join(words)) for name, kind, words in found]


def references(cls):
    """The references, one text each."""
    return re.split(r"\s*\.\. \[\d+\] ", " ".join(line.strip() for line in section(cls, "References")))[1:]


def citation(cls):
    """Authors, title, venue and year of the first reference; the whole of one in another form."""
    first = (references(cls) or [""])[0]
    found = _CITATION.match(first)
    return found.group() if found else first.strip()


def paragraphs(lines):
    """Lines joined to paragraphs, which blank lines part."""
    return [" ".join(part.split()) for part in "\n".join(lines).split("\n\n") if part.strip()]


def _plain(text):
    """Without the marks of reStructuredText."""
    return re.sub(r"\[(\d+)\]_", r"[\1]", text).replace("`", "")
