"""Finds circles among the modules of Rust crates, by reading their sources.

A module, here a file, uses another one where it names an item that the other one defines: in a `use`, or in a path such
as `crate::a::b`, `super::C` or `child::f()`. Re-exports are followed to the file that defines the item, globs to the
names that are really used. `mod child;` alone uses nothing, nor does `use crate::module` before one of the module's
items is named. Whatever stands under `#[cfg(test)]` is left out, as are comments.

Not seen: methods that a type has in another file than its own.
"""

import re
import sys
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path

LONG = 300

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^\\'\n])'|'\w+|\b[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)"
    |[bc]?"(?:\\.|[^"\\])*")
    |(?P<word>(?:r\#)?[^\W\d]\w*)|(?P<other>::|\d[\w.]*|.)""",
    re.VERBOSE | re.DOTALL,
)
ITEMS = {"mod", "use", "impl", "fn", "struct", "enum", "trait", "type", "const", "static", "unsafe", "async", "extern"}
DEFINES = {"fn", "struct", "enum", "trait", "type", "const", "static", "union"}


def tokens(text):
    """The words and signs of a source with their lines; without comments, strings, characters and lifetimes."""
    found, at, line = [], 0, 1
    while at < len(text):
        if text.startswith("/*", at):
            end, depth = at + 2, 1
            while depth:
                sign = re.compile(r"/\*|\*/").search(text, end)
                depth, end = (depth + (1 if sign[0] == "/*" else -1), sign.end()) if sign else (0, len(text))
        else:
            match = TOKEN.match(text, at)
            end = match.end()
            if not match["skip"]:
                found.append((match[0].removeprefix("r#"), line))
        line += text.count("\n", at, end)
        at = end
    return found


@dataclass
class Module:
    path: tuple
    file: Path
    parent: "Module | None" = None
    children: dict = field(default_factory=dict)
    items: set = field(default_factory=set)
    # Names that a `use` brings in, with the paths they stand for: a name can be a module and a function.
    imports: dict = field(default_factory=lambda: defaultdict(list))
    globs: list = field(default_factory=list)
    # Paths named, with the line.
    named: list = field(default_factory=list)
    words: dict = field(default_factory=dict)
    # The module that is the whole file.
    whole: "Module | None" = None

    def __post_init__(self):
        self.whole = self.whole or self

    def __hash__(self):
        return id(self)

    def __eq__(self, other):
        return self is other

    def __str__(self):
        return "::".join(self.path) or self.file.stem


def source(folder):
    """Where the sources of the crate in a folder begin."""
    return next((file for name in ("lib", "main") if (file := folder / "src" / f"{name}.rs").exists()), None)


class Crate:
    def __init__(self, folder):
        self.folder, self.modules, self.macros = folder, [], {}
        self.root = self.load(Module((), source(folder)), folder / "src")

    def load(self, module, folder):
        """Reads the module's file; its children's files are in the folder."""
        self.read(module, tokens(module.file.read_text()), folder)
        return module

    def read(self, module, text, folder):
        """Takes in the items of a module, from its tokens."""
        self.modules.append(module)
        at, depth = 0, 0
        word = lambda at: text[at][0] if at < len(text) else ""
        while at < len(text):
            token, line = text[at]
            if token == "#" and (word(at + 1) == "[" or word(at + 1) + word(at + 2) == "!["):
                end = closing(text, at + 1 + (word(at + 1) == "!"))
                attribute = "".join(token for token, _ in text[at + 2 : end])
                at = after_item(text, end + 1) if re.match(r"cfg\((all\()?test\b", attribute) else end + 1
                continue
            if token == "mod" and depth == 0 and word(at + 2) in ("{", ";"):
                name = word(at + 1)
                child = Module((*module.path, name), module.file, module)
                module.children[name] = child
                if word(at + 2) == "{":
                    end, child.whole = closing(text, at + 2), module.whole
                    self.read(child, text[at + 3 : end], folder / name)
                    at = end + 1
                else:
                    files = [folder / f"{name}.rs", folder / name / "mod.rs"]
                    child.file = next((file for file in files if file.exists()), None)
                    if child.file is None:
                        raise SystemExit(f"error: {module.file}:{line}: mod {name} is neither of {files}")
                    self.load(child, folder / name)
                    at += 3
                continue
            # `use<'a>` in a type is not an import.
            if token == "use" and word(at - 1) != "." and word(at + 1) != "<":
                end = next(end for end in range(at, len(text)) if text[end][0] == ";")
                for path, name in use_tree(text[at + 1 : end]):
                    if name == "*":
                        module.globs.append((path, line))
                    else:
                        module.imports[name].append(path)
                        module.named.append((path, line))
                at = end + 1
                continue
            if token == "macro_rules" and word(at + 1) == "!":
                self.macros[word(at + 2)] = module
                module.items.add(word(at + 2))
                at += 3
                continue
            if depth == 0 and token in DEFINES and re.match(r"[^\W\d]", word(at + 1)) and word(at + 1) not in DEFINES:
                module.items.add(word(at + 1 + (word(at + 1) == "mut")))
                at += 2
                continue
            depth += (token in "([{") - (token in ")]}")
            if re.match(r"[^\W\d]", token):
                path = [token]
                while word(at + 1) == "::" and re.match(r"[^\W\d]", word(at + 2)):
                    path.append(word(at + 2))
                    at += 2
                if word(at + 1) == "!" and len(path) == 1 and word(at + 2) != "=":
                    module.named.append(((path[0], "!"), line))
                elif len(path) > 1:
                    module.named.append((tuple(path), line))
                module.words.setdefault(path[0], line)
            at += 1

    def definer(self, module, path, inside=False, seen=frozenset()):
        """The module that defines what a path names in `module`: `None` for another crate's, and for a module itself.
        `inside`: the path begins with an item of the module, not with a name in its scope."""
        # Imports can go in circles, too.
        if (module, path) in seen or len(path) > 16:
            return None
        seen |= {(module, path)}
        first, rest = path[0], path[1:]
        if not inside and first in ("crate", "self", "super"):
            at = {"crate": self.root, "self": module, "super": module.parent}[first]
            return self.definer(at, rest, rest[:1] != ("super",), seen) if rest and at else None
        if first in module.children and rest:
            return self.definer(module.children[first], rest, True, seen)
        if first in module.items:
            return module
        for target in module.imports.get(first, ()):
            # `use a::a`, where `a` is no module here, is of the crate `a`.
            foreign = target[0] == first and first not in module.children
            if not foreign and (found := self.definer(module, target + rest, False, seen)):
                return found
        for target, _ in module.globs:
            of = self.module(module, target)
            if of and first in (of.items | of.children.keys() | of.imports.keys()):
                return self.definer(of, path, True, seen)
        # What a macro defines is found nowhere.
        known = first in module.children or first in module.imports
        return module if inside and not known else None

    def module(self, module, path, seen=frozenset()):
        """The module that a path names."""
        for name in path:
            if (module, name) in seen:
                return None
            seen |= {(module, name)}
            if name in ("crate", "self", "super"):
                module = {"crate": self.root, "self": module, "super": module.parent}[name]
            elif name in module.children:
                module = module.children[name]
            else:
                found = (self.module(module, target, seen) for target in module.imports.get(name, ()))
                module = next(filter(None, found), None)
            if module is None:
                return None
        return module

    def edges(self):
        """Who uses whom: of each file's module the other ones, with the place and the path that says so."""
        edges = defaultdict(dict)
        for module in self.modules:
            named = list(module.named)
            for target, line in module.globs:
                if not self.module(module, target):
                    named.append((target, line))
            own = module.items | module.imports.keys() | module.children.keys()
            named += [((word,), line) for word, line in module.words.items() if module.globs and word not in own]
            for path, line in named:
                if path[-1] == "!":
                    in_scope = path[0] in module.items or path[0] in module.imports
                    found = None if in_scope else self.macros.get(path[0])
                else:
                    found = self.definer(module, path)
                if found and found.whole is not module.whole:
                    place = f"{module.file}:{line}: {'::'.join(path).replace('::!', '!')}"
                    edges[module.whole].setdefault(found.whole, place)
        return edges


def closing(text, at):
    """Where the bracket at `at` closes."""
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end][0] in "([{") - (text[end][0] in ")]}")
        if depth == 0:
            return end
    return len(text)


def after_item(text, at):
    """Where the item, the field or the statement that begins at `at` has ended."""
    first = next((token for token, _ in text[at:] if token not in ("pub", "crate", "super", "(", ")")), "")
    ends = (";",) if first in ITEMS else (";", ",")
    while at < len(text):
        if text[at][0] in "([{":
            braces = text[at][0] == "{"
            at = closing(text, at)
            # `use a::{b};` and `const A: [u8; 1] = [0];` end with the semicolon.
            if braces and not (at + 1 < len(text) and text[at + 1][0] in (";", ",", ")", ".")):
                return at + 1
        elif text[at][0] in ends:
            return at + 1
        at += 1
    return at


def use_tree(text):
    """The paths of a `use` with the names that they are given."""
    words = [token for token, _ in text if token != "::"]

    def tree(at, before):
        path = list(before)
        while at < len(words) and words[at] not in (",", "}"):
            if words[at] == "{":
                at += 1
                while words[at] != "}":
                    at = yield from tree(at, path)
                    at += words[at] == ","
                return at + 1
            if words[at] == "*":
                yield tuple(path), "*"
                return at + 1
            if words[at] == "as":
                yield tuple(path), words[at + 1]
                return at + 2
            if words[at] != "self" or not path:
                path.append(words[at])
            at += 1
        yield tuple(path), path[-1]
        return at

    yield from tree(0, ())


def circles(edges):
    """The strongly connected components of two and more modules (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in edges.get(module, ()):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            component = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(component) > 1:
                found.append(component)

    for module in list(edges):
        if module not in index:
            visit(module)
    return found


def shortest(edges, start, among):
    """The shortest way from a module back to itself."""
    ways = deque([[start]])
    seen = set()
    while ways:
        way = ways.popleft()
        for other in edges.get(way[-1], ()):
            if other is start:
                return [*way, start]
            if other in among and other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []


def main(folders):
    sys.setrecursionlimit(10_000)
    count, long = 0, []
    for folder in map(Path, folders):
        if source(folder) is None:
            raise SystemExit(f"error: {folder}: no src/lib.rs or src/main.rs")
        crate = Crate(folder)
        edges = crate.edges()
        name = re.search(r'^name = "(.*)"', (folder / "Cargo.toml").read_text(), re.MULTILINE)[1]
        found = circles(edges)
        count += len(found)
        files = {module.whole for module in crate.modules}
        print(f"{name}: {len(files)} modules, " + (f"circles: {len(found)}" if found else "no circle"))
        for component in found:
            print(f"  {len(component)} modules use each other: {', '.join(sorted(map(str, component)))}")
            shown = set()
            for module in sorted(component, key=str):
                if module not in shown:
                    way = shortest(edges, module, set(component))
                    shown.update(way)
                    print("    " + " → ".join(map(str, way)))
                    for user, used in zip(way, way[1:]):
                        print(f"      {edges[user][used]}")
        for file in sorted(folder.glob("src/**/*.rs")):
            lines = file.read_text().count("\n")
            if lines > LONG:
                long.append(f"  {lines:5} {file}")
    print(f"\nFiles over {LONG} lines: {len(long)}", *long, sep="\n")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["."]))
