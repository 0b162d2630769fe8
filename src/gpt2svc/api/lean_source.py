"""Scripts and style sheets without what only people read: comments, indentation, and signs that change nothing.

Nothing is renamed and nothing rewritten: pretty-printed by a debugger, a script is what it was.
"""

import re

# What a line of a script is made of. No text spans lines, and no template stands in another: that is under test.
_PARTS = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)"""
    r"|(?P<comment>//.*|/\*.*?\*/)"
    r"|(?P<pattern>/(?:[^/\\\[]|\\.|\[(?:[^\]\\]|\\.)*\])+/[a-z]*)"
    r"|(?P<space>\s+)"
    r"|(?P<word>[\w$#]+)"
    r"|(?P<sign>.)"
)
_ENDS_A_VALUE = re.compile(r"[\w$)\]}\"'`](?<!\breturn)$")  # after these a slash divides
_MAY_BE_EMPTY = re.compile(r".*\b(?:for|while|if|else)\b.*\);$|.*else;$")  # a loop without a body, say
_LONE_PARAMETER = re.compile(r"(?<![\w$])\(([\w$]+)\)=$")  # of an arrow function
_GOES_ON = "{;,(["
_STYLE_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_STYLE_SPACE = re.compile(r"(?<=[{};,:>]) +| +(?=[{};,>])|;(?=\s*})|(?<![\d.])0(?=\.\d)")


def lean_script(source: str) -> str:
    lean = last = ""
    is_comment = False
    for line in source.splitlines():
        text = line.strip()
        if is_comment or (text.startswith("/*") and "*/" not in text):
            is_comment = "*/" not in text
        elif code := _lean_line(text):
            if _is_idle_before(code[0], last):
                lean = lean[:-1]
            elif lean and lean[-1] not in _GOES_ON:
                lean += "\n"  # it may be the end of a statement
            lean += code
            last = code
    return f"{lean}\n"


def _lean_line(text: str) -> str:
    line = ""
    is_apart = False
    position = 0
    while match := _PARTS.match(text, position):
        kind, part = match.lastgroup, match.group()
        if kind == "pattern" and _ENDS_A_VALUE.search(line):
            kind, part = "sign", "/"
        position += len(part)
        if kind in ("space", "comment"):
            is_apart = True
            continue
        if _is_idle_before(part, line):
            line = line[:-1]
        if is_apart and line and _would_join(line[-1], part[0]):
            line += " "
        if part == ">":
            line = _LONE_PARAMETER.sub(r"\1=", line)
        line += part
        is_apart = False
    return line


def _is_idle_before(sign: str, line: str) -> bool:
    """Whether the last sign of `line` says nothing before this one: the comma of a list, a statement's semicolon."""
    if line.endswith(","):
        return sign in (")", "]", "}") and not line.endswith((",,", "[,"))
    return sign == "}" and line.endswith(";") and not _MAY_BE_EMPTY.match(line)


def _would_join(before: str, after: str) -> bool:
    """Whether two parts mean something else without a space in between: words, and a doubled sign."""
    return (_is_of_word(before) and _is_of_word(after)) or (before == after and before in "+-/")


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character in "_$#"


def lean_style(source: str) -> str:
    lines = (line.strip() for line in _STYLE_COMMENT.sub("", source).splitlines())
    return _STYLE_SPACE.sub("", " ".join(line for line in lines if line)) + "\n"
