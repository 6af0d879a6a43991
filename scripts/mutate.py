"""Remove each guard of the pure core in turn, and show that the tests of the core notice every one.

A *mutant* is the core with one thing changed: a condition that always or never holds, a comparison turned round, an
`and` that became an `or`, a number one off, an effect that is not written, one member less of a set of states.  Each is
tested in a process of its own, which imports the changed module in place of the file; no file is touched.  A mutant
that the tests do not notice *survives*, and then a rule of the core has no test.  One that hangs is noticed, too.

    scripts/mutate.py [--only TEXT] [--list] [--processes N] [--deadline SECONDS]
"""

from __future__ import annotations

import argparse
import ast
import copy
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
#: What is changed: the file, and the functions of it that hold guards (None: all of it).
TARGETS: dict[str, frozenset[str] | None] = {
    "orchestrator/core/run.py": None,
    "orchestrator/core/retry.py": None,
    "orchestrator/core/effect.py": frozenset({"final", "open", "done"}),
}
#: The quick ones first: they notice most.
TESTS = tuple(f"tests/core/test_{name}.py" for name in ("run", "run_asks", "retry", "effect", "run_properties"))
#: Forked from a process that has imported all of this already, and none of ours.
_FRESH = multiprocessing.get_context("forkserver")
_FRESH.set_forkserver_preload(["pytest", "hypothesis", "hypothesis.strategies", "_hypothesis_pytestplugin", "xdist"])
#: Seconds for the tests of the code as it is.
_LONGEST = 300.0
SURVIVED, NOTICED, HUNG, BROKEN = "survived", "noticed", "hung", "broken"

#: Mutants that mean the same as the code, each with the reason why no test can tell.
EQUIVALENT: dict[str, str] = {}

Change = Callable[[ast.AST], ast.AST]


@dataclass(frozen=True)
class Mutant:
    """One change: the `number`-th place of the file, and which of the things that can be done there."""

    path: str
    number: int
    change: int
    line: int
    what: str
    #: Where it is, and what stands there before and after: by this people and `EQUIVALENT` know it.
    name: str

    @property
    def module(self) -> str:
        """The name under which the file is imported."""
        return self.path.removesuffix(".py").replace("/", ".")


# What can be changed.


def _changes(node: ast.AST, field: str, parent: ast.AST) -> Iterator[tuple[str, Change]]:
    """What can be done to a node that stands in `field` of its parent."""
    if field in ("test", "guard") and isinstance(node, ast.expr):
        yield "always", lambda _: ast.Constant(True)
        yield "never", lambda _: ast.Constant(False)
    if isinstance(node, ast.comprehension):
        for at in range(len(node.ifs)):
            yield "every", lambda it, at=at: _without(it, "ifs", at)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for instead in _COMPARED.get(type(node.ops[0]), ()):
            yield "compare", lambda it, instead=instead: _with(it, ops=[instead()])
    if isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield "and/or", lambda it: _with(it, op=other())
        for at in range(len(node.values)):
            yield "operand", lambda it, at=at: _without(it, "values", at)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not", lambda it: it.operand  # type: ignore[attr-defined]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult) and not _is_text(node):
        other_sign = ast.Sub if isinstance(node.op, ast.Add) else ast.Add
        yield "sign", lambda it: _with(it, op=other_sign())
        yield "left only", lambda it: it.left  # type: ignore[attr-defined]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool) and _says_something(parent):
        yield "true/false", lambda it: ast.Constant(not it.value)  # type: ignore[attr-defined]
    if isinstance(node, ast.Constant) and type(node.value) is int and isinstance(parent, ast.BinOp | ast.Compare):
        yield "number", lambda it: ast.Constant(it.value + 1)  # type: ignore[attr-defined]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _SWAPPED:
        yield "then", lambda it: _with(it, func=ast.Name(_SWAPPED[it.func.id], ast.Load()))  # type: ignore[attr-defined]
        if node.func.id in ("min", "max"):
            yield "one bound", lambda it: it.args[0]  # type: ignore[attr-defined]
    if isinstance(node, ast.Tuple) and field in ("comparators", "args") and len(node.elts) > 1:
        for at in range(len(node.elts)):
            yield "member", lambda it, at=at: _without(it, "elts", at)
    if field == "body" and isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "dropped", lambda _: ast.Pass()
    if field == "body" and isinstance(node, ast.Assign | ast.AugAssign) and _is_replacement(node, parent):
        yield "dropped", lambda _: ast.Pass()
    if field == "body" and isinstance(node, ast.Return) and isinstance(parent, ast.If | ast.match_case):
        yield "goes on", lambda _: ast.Pass()


_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
}
_SWAPPED = {"Continue": "End", "End": "Continue", "min": "max", "max": "min"}


def _with(node: ast.AST, **fields: object) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def _without(node: ast.AST, field: str, at: int) -> ast.AST:
    del getattr(node, field)[at]
    values = getattr(node, field)
    return values[0] if isinstance(node, ast.BoolOp) and len(values) == 1 else node


def _says_something(parent: ast.AST) -> bool:
    """Whether a true or false there is ours: those of a dataclass's decorator are not."""
    return isinstance(parent, ast.Assign) or (isinstance(parent, ast.keyword) and parent.arg not in ("frozen", "slots"))


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(side, ast.JoinedStr) or _is_string(side) for side in (node.left, node.right))


def _is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_replacement(node: ast.Assign | ast.AugAssign, parent: ast.AST) -> bool:
    """Whether the name has a value already (an attribute, or what `replace` makes anew): else nothing would be left."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    outside = not (isinstance(parent, ast.FunctionDef) and parent.name == "__init__")
    again = (
        isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name) and node.value.func.id == "replace"
    )
    named = any(isinstance(it, ast.Name) and isinstance(target, ast.Name) and it.id == target.id for it in _reads(node))
    in_branch = isinstance(parent, ast.If) and isinstance(target, ast.Name)
    return outside and (isinstance(target, ast.Attribute | ast.Subscript) or (again and named) or in_branch)


def _reads(node: ast.Assign | ast.AugAssign) -> Iterator[ast.AST]:
    return ast.walk(node.value)


# Where.


def _places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node with where it stands: its parent, the field there, and the place in the field's list."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, list):
                yield from ((parent, field, at, it) for at, it in enumerate(value) if isinstance(it, ast.AST))
            elif isinstance(value, ast.AST):
                yield parent, field, None, value


def mutants(path: str) -> list[Mutant]:
    """All mutants of a file, in the order of its lines."""
    tree = ast.parse((ROOT / path).read_text())
    wanted = TARGETS[path]
    home = {
        id(node): getattr(top, "name", "")
        for top in _defined(tree)
        for node in ast.walk(top)
        if wanted is None or top.name in wanted
    }
    found = list[Mutant]()
    for number, (parent, field, _, node) in enumerate(_places(tree)):
        if id(parent) not in home:
            continue
        line = getattr(node, "lineno", getattr(parent, "lineno", 0))
        for change, (what, do) in enumerate(_changes(node, field, parent)):
            place = f"{Path(path).stem}.{home[id(parent)]}"
            name = f"{place}: {_text(node)} -> {_text(do(copy.deepcopy(node)))}"
            found.append(Mutant(path, number, change, line, what, name))
    return _told_apart(sorted(found, key=lambda mutant: (mutant.line, mutant.number, mutant.change)))


def _defined(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes of a module, the inner ones after those they stand in."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef))


def _told_apart(found: list[Mutant]) -> list[Mutant]:
    """Number those that look the same within their function."""
    seen, apart = Counter[str](), list[Mutant]()
    for mutant in found:
        seen[mutant.name] += 1
        number = seen[mutant.name]
        apart.append(mutant if number == 1 else replace(mutant, name=f"{mutant.name} [{number}]"))
    return apart


def _mutated(mutant: Mutant) -> ast.Module:
    """The tree after the change."""
    tree = ast.parse((ROOT / mutant.path).read_text())
    parent, field, at, node = list(_places(tree))[mutant.number]
    _, do = list(_changes(node, field, parent))[mutant.change]
    after = do(node)
    if at is None:
        setattr(parent, field, after)
    else:
        getattr(parent, field)[at] = after
    return ast.fix_missing_locations(tree)


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(ast.fix_missing_locations(node)).split())


# One mutant, in a process of its own.


class _Changed(MetaPathFinder, Loader):
    """Imports the changed tree under the name of the module."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self._module, self._tree = module, tree

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname == self._module else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._tree, f"<mutant of {self._module}>", "exec"), module.__dict__)


def _run_tests(mutant: Mutant | None) -> None:
    """Run the tests on the mutant (None: on the code as it is), and end this process with pytest's exit code."""
    import pytest

    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    if mutant is not None:
        assert mutant.module not in sys.modules, "the mutant would not be imported"
        sys.meta_path.insert(0, _Changed(mutant.module, _mutated(mutant)))
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    quiet = ["-x", "-q", "--no-header", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    sys.exit(int(pytest.main([*quiet, *TESTS])))


def judge(mutant: Mutant | None, deadline: float) -> str:
    """Test a mutant (None: the code as it is) in a fresh process, which has `deadline` seconds."""
    process = _FRESH.Process(target=_run_tests, args=(mutant,))
    process.start()
    process.join(deadline)
    if process.is_alive():
        process.kill()
        process.join()
        return HUNG
    # 1: a test failed, 2: one could not be imported; anything else is no merit of theirs.
    return {0: SURVIVED, 1: NOTICED, 2: NOTICED}.get(process.exitcode or 0, BROKEN)


# All of them.


def main() -> int:
    """Judge every mutant, tell of those that survive, and return how it ended: 0 when none did."""
    options = _parse()
    chosen = [mutant for path in TARGETS for mutant in mutants(path) if (options.only or "") in mutant.name]
    if options.list:
        print("\n".join(f"{mutant.line:4} {mutant.what:10} {mutant.name}" for mutant in chosen))
        return 0
    began = time.monotonic()
    if judge(None, _LONGEST) != SURVIVED:
        print("the tests fail on the code as it is: nothing can be said about mutants", file=sys.stderr)
        return 2
    # Whoever takes so much longer than the code itself hangs; several at once on a busy machine take their time.
    deadline = options.deadline or 10 + 5 * (time.monotonic() - began)
    began = time.monotonic()
    verdicts = _judge_all(chosen, options.processes, deadline)
    return _report(verdicts, time.monotonic() - began, whole=not options.only)


def _judge_all(chosen: list[Mutant], processes: int, deadline: float) -> dict[Mutant, str]:
    verdicts = dict[Mutant, str]()
    with ThreadPoolExecutor(processes) as pool:
        judged = {pool.submit(judge, mutant, deadline): mutant for mutant in chosen}
        for future in as_completed(judged):
            mutant = judged[future]
            verdicts[mutant] = future.result()
            if verdicts[mutant] == SURVIVED and mutant.name not in EQUIVALENT:
                print(f"survived: {mutant.path}:{mutant.line} ({mutant.what}) {mutant.name}", flush=True)
    return verdicts


def _report(verdicts: dict[Mutant, str], seconds: float, whole: bool) -> int:
    print(f"\n{'file':28} {'mutants':>8} {'noticed':>8} {'hung':>6} {'broken':>7} {'equivalent':>11} {'survived':>9}")
    bad = 0
    for path in TARGETS:
        of_file = {mutant: verdict for mutant, verdict in verdicts.items() if mutant.path == path}
        count = Counter(of_file.values())
        alike = sum(verdict == SURVIVED and mutant.name in EQUIVALENT for mutant, verdict in of_file.items())
        left = count[SURVIVED] - alike
        bad += left + count[BROKEN]
        row = f"{count[NOTICED]:8} {count[HUNG]:6} {count[BROKEN]:7} {alike:11} {left:9}"
        print(f"{path:28} {len(of_file):8} {row}")
    for mutant, verdict in verdicts.items():
        if verdict == BROKEN:
            print(f"broken, the tests cannot even run: {mutant.path}:{mutant.line} {mutant.name}")
    names = {mutant.name for mutant, verdict in verdicts.items() if verdict == SURVIVED}
    stale = set(EQUIVALENT) - names if whole else set()
    print("".join(f"called equivalent, but noticed or gone: {name}\n" for name in sorted(stale)), end="")
    print(f"{len(verdicts)} mutants in {seconds:.0f} s")
    return 1 if bad or stale else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", help="judge those whose name has this text")
    parser.add_argument("--list", action="store_true", help="list them and judge none")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--deadline", type=float, help="seconds for one; what takes longer hangs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
