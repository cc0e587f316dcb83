"""What a shell makes of a command: words, variables, `$(cat …)`, scripts in scripts. Nothing is run. Pure."""

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .variables import ComposeFileError, closing_brace

UNKNOWN = "\ue000"
"""Stands in a word for what only running the script would tell."""

SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh")
_RESERVED = (
    "if",
    "then",
    "elif",
    "else",
    "fi",
    "do",
    "done",
    "while",
    "until",
    "{",
    "}",
    "!",
    "time",
    "esac",
)
_DECLARE = ("export", "readonly", "local", "declare", "typeset")
_ENDS = "\n;&|()"
_OPERATORS = (":-", ":=", ":+", ":?", "-", "=", "+", "?")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*([\"']?)(\w+)\1")
_NAME = re.compile(r"[A-Za-z_]\w*")
_CAT = re.compile(
    r"\s*(?:cat\s+|<\s*)([^\s|;&<>]+)\s*(?:\|\s*(?:tr\s+-d\b[^|]*|xargs|head\s[^|]*))?\s*"
)
_TR = re.compile(r"\s*tr\s+-d\b[^<|]*<\s*([^\s|;&<>]+)\s*")
_ECHO = re.compile(
    r"\s*(?:echo(?:\s+-n)?|printf(?:\s+['\"]?%s['\"]?)?)\s+([\"']?)(\$\{?\w+\}?)\1\s*"
)


def shell_words(text: str) -> list[str]:
    """The words of a command in compose's text form.

    Compose is no shell: a backslash takes any next character as it is, also between double quotes, `#` begins no
    comment, and the first `;`, `&`, `|`, `<` or `>` outside of quotes ends the command.

    Raises:
        ValueError: a quote is not closed.
    """
    words: list[str] = []
    word: str | None = None
    quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\\" and quote != "'":
            if at == len(text):
                raise ValueError("nothing follows a backslash")
            word = (word or "") + ("\\" if quote == ")" else "") + text[at]
            at += 1
        elif quote:
            if char != quote or quote == ")":
                word = (word or "") + char
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote, word = char, word or ""
        elif char in " \t\r\n;&|<>":
            words += [] if word is None else [word]
            word = None
            if char in ";&|<>":
                break
        else:
            quote = ")" if char == "(" and (word or "").endswith("$") else ""
            word = (word or "") + char
    if quote:
        raise ValueError("a quote is not closed")
    return words if word is None else [*words, word]


class _Part(NamedTuple):
    text: str
    quoted: bool


class _Lexer:
    """Splits a script into commands, and these into words that are not expanded yet."""

    def __init__(self, script: str) -> None:
        self._script, self._at = script, 0
        self._command: list[list[_Part]] = []
        self._parts: list[_Part] = []
        self._heredocs: list[str] = []
        self._skips = False
        """Whether the next word is a redirection's file."""

    def commands(self) -> Iterator[list[list[_Part]]]:
        """The commands in order."""
        while self._at < len(self._script):
            char = self._script[self._at]
            if char in _ENDS or char.isspace():
                self._finish()
                self._at += 1
                if char in _ENDS:
                    yield from self._ended()
                if char == "\n" and self._heredocs:
                    self._at = _after_heredocs(self._script, self._at, self._heredocs)
                    self._heredocs = []
            elif char in "<>":
                self._redirection()
            elif char == "#" and not self._parts:
                self._at = self._find("\n", self._at)
            else:
                self._part(char)
        self._finish()
        yield from self._ended()

    def _ended(self) -> Iterator[list[list[_Part]]]:
        self._skips = False
        if self._command:
            yield self._command
        self._command = []

    def _finish(self) -> None:
        """A word ends here."""
        if self._parts and not self._skips:
            self._command.append(self._parts)
        if self._parts:
            self._skips = False
        self._parts = []

    def _find(self, sign: str, start: int) -> int:
        end = self._script.find(sign, start)
        return len(self._script) if end < 0 else end

    def _part(self, char: str) -> None:
        """One piece of a word: bare, quoted, or a command of its own."""
        script, at = self._script, self._at
        if char == "\\":
            if script[at + 1 : at + 2] != "\n":
                self._parts.append(_Part(script[at + 1 : at + 2], True))
            self._at = at + 2
        elif char == "'":
            end = self._find("'", at + 1)
            self._parts.append(_Part(script[at + 1 : end], True))
            self._at = end + 1
        elif char == '"':
            end = _closing_quote(script, at + 1)
            self._parts.append(_Part(script[at : end + 1], False))
            self._at = end + 1
        elif char == "`" or script.startswith(("$(", "${"), at):
            self._at = _closing(script, at)
            self._parts.append(_Part(script[at : self._at], False))
        else:
            end = at + 1
            while end < len(script) and script[end] not in _ENDS + "\\'\"`<> \t\r":
                if script.startswith(("$(", "${"), end):
                    break
                end += 1
            self._parts.append(_Part(script[at:end], False))
            self._at = end

    def _redirection(self) -> None:
        """`> file`, `2>&1`, `<<END`: no part of the command's words."""
        script = self._script
        if self._parts and "".join(p.text for p in self._parts).isdigit():
            self._parts = []
        self._finish()
        if heredoc := _HEREDOC.match(script, self._at):
            self._heredocs.append(heredoc.group(2))
            self._at = heredoc.end()
            return
        while self._at < len(script) and script[self._at] in "<>&":
            self._at += 1
        self._skips = script[self._at : self._at + 1] not in ("\n", "")
        if script[self._at - 1] == "&" and script[self._at : self._at + 1].isdigit():
            self._at, self._skips = self._at + 1, False


@dataclass
class Shell:
    """A shell that reads a script and runs nothing.

    Args:
        variables: its environment; assignments of the script are put in.
        read: content of a file in the container; None where it is not known.
        used: gets the names of the variables that it asks for.
        arguments: `$1` and those after.
    """

    variables: dict[str, str]
    read: Callable[[str], str | None]
    used: set[str]
    arguments: Sequence[str] = ()
    name: str = "sh"
    _depth: int = field(default=0, repr=False)

    def commands(self, script: str) -> Iterator[list[str]]:
        """The simple commands of a script, in order, with what stands in variables by then.

        Both sides of a condition come, since only running it would tell. A word that nobody can know holds UNKNOWN.
        """
        for given in _Lexer(script).commands():
            at = 0
            while at < len(given) and given[at][0].text in _RESERVED and not given[at][0].quoted:
                at += 1
            expanded = self._run(given[at:])
            if expanded[:1] and expanded[0] in (".", "source") and expanded[1:]:
                text = self.read(expanded[1])
                if text is not None and self._depth < 5:  # noqa: PLR2004 - an end to a circle
                    self._depth += 1
                    yield from self.commands(text)
                    self._depth -= 1
            elif expanded:
                yield expanded

    def _run(self, words: list[list[_Part]]) -> list[str]:
        """Carry out assignments, and expand the rest."""
        declares = bool(words) and words[0][0].text in _DECLARE
        rest = words[1:] if declares else words
        while rest:
            found = _ASSIGNMENT.match(rest[0][0].text) if not rest[0][0].quoted else None
            if found is None:
                if declares:
                    rest = rest[1:]
                    continue
                break
            value = self._expand([_Part(found.group(3), False), *rest[0][1:]])
            before = self.variables.get(found.group(1), "")
            if found.group(2):
                value = before + value
            # What cannot be known does not replace what is known: it may be the other side of a condition.
            if not (before and UNKNOWN in value):
                self.variables[found.group(1)] = value
            rest = rest[1:]
        if declares:
            return []
        expanded = [word for parts in rest for word in self._words(parts)]
        if expanded[:2] == ["set", "--"]:
            self.arguments = expanded[2:]
        elif expanded[:1] == ["shift"]:
            self.arguments = self.arguments[1:]
        return expanded

    # Words

    def _words(self, parts: list[_Part]) -> list[str]:
        """A word after expansion: several where an unquoted variable holds blanks, none where it is empty."""
        if [p.text for p in parts] in (['"$@"'], ["$@"], ["$*"], ['"${@}"'], ["${@}"]):
            return list(self.arguments)
        words = [""]
        there = False
        for part in parts:
            text = part.text if part.quoted else self._expand([part])
            bare = not part.quoted and not part.text.startswith('"')
            if bare and "$" in part.text and text != part.text:
                pieces = re.split(r"[ \t\n]+", text)
                words[-1] += pieces[0]
                words += pieces[1:]
                there = there or bool(text.strip())
            else:
                words[-1] += text
                there = True
        found = [word for word in words if word] if len(words) > 1 else words
        return found if there else []

    def _expand(self, parts: Sequence[_Part]) -> str:
        return "".join(p.text if p.quoted else self._filled(p.text) for p in parts)

    def _filled(self, text: str) -> str:
        """One unquoted or double-quoted piece, with its variables and commands filled in."""
        quoted = text.startswith('"')
        text = text.strip('"') if text == '"' else text[1:-1] if quoted else text
        found, at = "", 0
        while at < len(text):
            char = text[at]
            if char == "\\" and quoted and text[at + 1 : at + 2] in ("$", "`", '"', "\\", "\n"):
                found += "" if text[at + 1] == "\n" else text[at + 1]
                at += 2
            elif char == "`" or text.startswith("$(", at):
                end = _closing(text, at)
                inner = text[at + 1 : end - 1] if char == "`" else text[at + 2 : end - 1]
                found += self._output(inner)
                at = end
            elif text.startswith("${", at):
                end = _closing(text, at)
                found += self._braced(text[at + 2 : end - 1])
                at = end
            elif char == "$" and (name := _NAME.match(text, at + 1)):
                found += self._variable(name.group())
                at = name.end()
            elif char == "$" and text[at + 1 : at + 2] in tuple("@*0123456789"):
                found += self._positional(text[at + 1])
                at += 2
            elif char == "$" and text[at + 1 : at + 2] in tuple("$?!#-"):
                found += UNKNOWN
                at += 2
            else:
                found += char
                at += 1
        return found

    def _positional(self, which: str) -> str:
        if which in "@*":
            return " ".join(self.arguments)
        if which == "0":
            return self.name
        number = int(which)
        return self.arguments[number - 1] if number <= len(self.arguments) else ""

    def _variable(self, name: str) -> str:
        self.used.add(name)
        return self.variables.get(name, "")

    def _braced(self, inner: str) -> str:
        name = _NAME.match(inner)
        if name is None:
            positional = inner[:1] in tuple("@*0123456789") and inner[1:] == ""
            return self._positional(inner) if positional else UNKNOWN
        rest = inner[name.end() :]
        operator = next((o for o in _OPERATORS if rest.startswith(o)), "")
        value = self._variable(name.group())
        there = name.group() in self.variables and (value != "" or ":" not in operator)
        if rest and not operator:
            return UNKNOWN if value else ""
        if not rest or (there and operator[-1] != "+"):
            return value
        if operator[-1] == "?" or (operator[-1] == "+" and not there):
            return ""
        alternative = self._expand([_Part(rest[len(operator) :], False)])
        if operator[-1] == "=":
            self.variables[name.group()] = alternative
        return alternative

    def _output(self, command: str) -> str:
        """What a command prints, where that is a file's content or a variable."""
        if command.startswith("("):
            return UNKNOWN  # arithmetic
        found = _CAT.fullmatch(command) or _TR.fullmatch(command)
        if found:
            path = self._expand([_Part(found.group(1).strip("\"'"), False)])
            text = self.read(path)
            return UNKNOWN if text is None else text.rstrip("\n")
        if echoed := _ECHO.fullmatch(command):
            return self._expand([_Part(echoed.group(2), False)])
        return UNKNOWN


def _closing_quote(text: str, at: int) -> int:
    """Where the double quote closes that was opened before."""
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text.startswith(("$(", "${"), at) or text[at] == "`":
            at = _closing(text, at)
        elif text[at] == '"':
            return at
        else:
            at += 1
    return len(text)


def _closing(text: str, at: int) -> int:
    """The end of `${…}`, `$(…)` or a command between backquotes that begins here."""
    if text.startswith("${", at):
        try:
            return closing_brace(text, at + 2) + 1
        except ComposeFileError:
            return len(text)
    if text[at] == "`":
        end = text.find("`", at + 1)
        return len(text) if end < 0 else end + 1
    depth, at = 0, at + 1
    while at < len(text):
        char = text[at]
        if char in "'\"":
            at = _closing_quote(text, at + 1) if char == '"' else text.find("'", at + 1)
            at = len(text) if at < 0 else at
        depth += {"(": 1, ")": -1}.get(char, 0)
        at += 2 if char == "\\" else 1
        if char == ")" and depth == 0:
            return at
    return len(text)


def _after_heredocs(script: str, at: int, ends: Sequence[str]) -> int:
    for end in ends:
        while at < len(script):
            line, newline, _ = script[at:].partition("\n")
            at += len(line) + len(newline)
            if line.strip() == end:
                break
    return at


def basename(word: str) -> str:
    """A program's name without its folder."""
    return posixpath.basename(word)


def is_unknown(text: str) -> bool:
    """Whether only running the script would tell all of a text."""
    return UNKNOWN in text
