"""Losses as text: ``nce+mae``, ``2*nfl(gamma=0.5) + 0.5*rce(A=-4)``, ``my_losses:MyLoss(k=2)``.

The grammar is a corner of Python's own, so the standard library parses it; nothing is evaluated.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn, Unpack

from noiseproof import import_path
from noiseproof.errors import NoiseproofError, did_you_mean, one_line
from noiseproof.losses.active_passive import ActivePassiveLoss, WeightedSum, fits_role
from noiseproof.losses.base import Loss, hyperparameter_defaults, instead_of
from noiseproof.losses.catalogue import CATALOGUE
from noiseproof.losses.correction import BackwardCorrection, CorrectedLoss, ForwardCorrection
from noiseproof.losses.evaluation import DEFAULTS, Options
from noiseproof.losses.normalization import NormalizedLoss
from noiseproof.losses.own import NamedLoss, OwnCode, own_modules

CORRECTIONS: dict[str, type[CorrectedLoss]] = {
    cls.name: cls for cls in (ForwardCorrection, BackwardCorrection)
}

EXAMPLE = {"noise": "symmetric:0.4", "classes": "cifar10"}

LOSS_NAMES = (*CATALOGUE, NormalizedLoss.name, *CORRECTIONS)
"""Every name that a text can call a loss by."""

IMPORT_PATH = re.compile(r"""'[^']*'|"[^"]*"|(?<![\w.])[^\W\d]\w*(?:\.[^\W\d]\w*)*:(?=[^\W\d])""")
"""What stands in quotes, which is to be left alone, or a module's name and the colon after it."""

WEIGHT_WITHOUT_SIGN = re.compile(r"(?<![\w.])(\d+\.?\d*|\.\d+)([^\W\d]\w*)")

LONGEST_TEXT = 1000
"""Characters; a longer text is refused before the parser's recursion could overflow."""


@dataclass(frozen=True)
class Role:
    """What a number in a text is: a hyperparameter of a loss, or the weight of one if both are empty."""

    loss: str = ""
    hyperparameter: str = ""
    default: float | None = 1.0
    """None where it would take an import to know."""

    def __str__(self) -> str:
        """``q of gce``, or ``a weight``."""
        return f"{self.hyperparameter} of {self.loss}" if self.loss else "a weight"


Numbers = Callable[[str, Role], float]
"""Gives the number that a free name stands for."""


def parse(text: str, **options: Unpack[Options]) -> Loss:
    """Read a loss from its text.

    A robust active and a robust passive loss, added, give an `ActivePassiveLoss`; any other sum is a
    `WeightedSum`. Names are those of `CATALOGUE`, in either case; hyperparameters are keywords.

    A loss of your own is ``MODULE:NAME``, which is imported, from the current folder first: a `Loss` class,
    or a function of ``(logits, target)`` that gives one value a sample and depends on softmax(logits) alone,
    or a class of such. Its hyperparameters are its parameters that have a number for their default.

    Raises:
        NoiseproofError: the text is no loss; the message points at the place and offers the nearest name.

    >>> parse("nce+mae")
    nce + mae
    >>> parse("2*NFL(gamma=0.5) + 0.5*rce(A=-4)", reduction="none")
    2*nfl(gamma=0.5) + 0.5*rce(A=-4)
    >>> parse("mae + torch.nn:CrossEntropyLoss(label_smoothing=0.1)")
    mae + torch.nn:CrossEntropyLoss(label_smoothing=0.1)
    >>> parse("ncee+mae")
    Traceback (most recent call last):
    noiseproof.errors.NoiseproofError: loss 'ncee+mae': unknown loss 'ncee' at column 1; did you mean 'nce'?
    """
    return Reader(text, options).read()


def named(text: str) -> Loss:
    """Do as `parse`, but import nothing: a loss of one's own then has a text and a label, and no values.

    >>> named("nce + my_losses:MyLoss(k=2)").label
    'NCE+MyLoss(k=2)'
    """
    return Reader(text, {}, imports=False).read()


def own_code(texts: Iterable[str]) -> dict[str, str]:
    """Give a hash of each file of one's own that losses are from, by module, in the order of the alphabet.

    What is installed has none. Raises `NoiseproofError` as `parse` does.

    >>> own_code(["nce + mae", "torch.nn:CrossEntropyLoss"])
    {}
    """
    modules = sorted({module for text in texts for module in own_modules(parse(text))})
    hashes = {module: import_path.code(module) for module in modules}
    return {module: code for module, code in hashes.items() if code is not None}


class Reader:
    """Reads one text. With ``numbers``, free names may stand where numbers do, and are asked of it.

    ``imports``: whether losses of one's own are imported; else they are `NamedLoss`.
    """

    def __init__(
        self, text: str, options: Options, numbers: Numbers | None = None, *, imports: bool = True
    ) -> None:
        self.text = text
        self.options = options
        self.numbers = numbers
        self.imports = imports

    def read(self) -> Loss:
        """Give the loss; errors as for `parse`."""
        if not isinstance(self.text, str):
            given = one_line(repr(self.text))
            if isinstance(self.text, Loss):
                given = f"{given}, which is a loss already"
            elif isinstance(self.text, type) and issubclass(self.text, Loss):
                given = f"the class {self.text.__name__}; call it, {self.text.__name__}(), and it is a loss"
            raise NoiseproofError(f"a loss text must be a string such as 'nce+mae', got {given}")
        if len(self.text) > LONGEST_TEXT:
            raise NoiseproofError(
                f"a loss text may have at most {LONGEST_TEXT} characters,"
                f" got {len(self.text)}: {self.text[:40]!r}..."
            )
        if not self.text.strip():
            raise NoiseproofError("a loss text is empty; expected one such as 'ce' or 'nce+mae'")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python's parser warns of odd literals, such as '1or 2'
                tree = ast.parse(self._as_python(), mode="eval")
            terms = self._terms(tree.body, weight=1.0)
        except SyntaxError as error:
            self._refuse_weight_without_sign()
            column = self._position(error.lineno or 1, error.offset - 1) if error.offset else None
            # Python gives no place where more was to come
            self._fail(
                column or len(self.text.strip()) + 1,
                "cannot be read here; expected a form such as 'nce + 2*mae'",
            )
        except NoiseproofError:
            raise
        except (ValueError, MemoryError, RecursionError):
            self._fail(1, "cannot be read; expected a form such as 'nce + 2*mae'")
        loss = terms[0][1] if len(terms) == 1 and terms[0][0] == 1 else self._sum(terms)
        for name in self.options:
            if name not in DEFAULTS:
                offer = instead_of(name, DEFAULTS)
                raise NoiseproofError(f"loss {self.text.strip()!r} has no option {name!r}; {offer}")
        loss.configure(**self.options)
        return loss

    def _as_python(self) -> str:
        """Give the text with a dot for the colon of each import path: Python can read that, as long."""
        return IMPORT_PATH.sub(
            lambda found: found[0] if found[0][0] in "'\"" else found[0].replace(":", "."), self.text.strip()
        )

    def _refuse_weight_without_sign(self) -> None:
        for found in WEIGHT_WITHOUT_SIGN.finditer(self.text.strip()):
            weight, name = found.groups()
            if name.lower() in LOSS_NAMES:
                form = f"'{weight}*{name}'"
                self._fail(found.start() + 1, f"a weight needs a * before the loss, {form},")

    def _sum(self, terms: list[tuple[float, Loss]]) -> Loss:
        weights, losses = [w for w, _ in terms], [loss for _, loss in terms]
        if len(terms) == 2:
            for active, passive in ((0, 1), (1, 0)):
                if fits_role(losses[active], "active") and fits_role(losses[passive], "passive"):
                    return ActivePassiveLoss(
                        losses[active], losses[passive], alpha=weights[active], beta=weights[passive]
                    )
        return WeightedSum(losses, weights)

    def _terms(self, node: ast.expr, weight: float) -> list[tuple[float, Loss]]:
        """Flatten a sum into weighted losses; a weight before a bracket multiplies through."""
        match node:
            case ast.BinOp(left, ast.Add(), right):
                return self._terms(left, weight) + self._terms(right, weight)
            case ast.BinOp(factor, ast.Mult(), loss) if self._is_number(factor):
                return self._terms(loss, weight * self._weight(factor))
            case ast.BinOp(loss, ast.Mult(), factor) if self._is_number(factor):
                return self._terms(loss, weight * self._weight(factor))
            case ast.Name(name):
                return [(weight, self._loss(node, name, []))]
            case ast.Call(ast.Name(name), [inner], []) if name.lower() == NormalizedLoss.name:
                return [(weight, self._build(node, NormalizedLoss, self._inner(inner)))]
            case ast.Call(ast.Name(name), [inner], keywords) if name.lower() in CORRECTIONS:
                cls = CORRECTIONS[name.lower()]
                return [(weight, self._build(node, cls, self._inner(inner), **self._texts(node, keywords)))]
            case ast.Call(ast.Name(name), [], keywords):
                return [(weight, self._loss(node, name, keywords))]
            case ast.Attribute():
                return [(weight, self._own(node, []))]
            case ast.Call(ast.Attribute() as path, [], keywords):
                return [(weight, self._own(path, keywords))]
            case ast.Call(ast.Attribute() as path, [_, *_]):
                self._path(path)
                self._fail(
                    self._column(node.args[0]),
                    "hyperparameters must be named, such as 'my_losses:MyLoss(k=2)'",
                )
            case ast.Call(ast.Name(name), [_, *_]):
                self._class(node, name)
                self._fail(
                    self._column(node.args[0]),
                    f"hyperparameters of {name!r} must be named, such as 'fl(gamma=0.5)'",
                )
        self._fail(self._column(node), "expected a loss, a weight * a loss, or a sum of these")

    def _inner(self, node: ast.expr) -> Loss:
        """Read what is normalized; ``1*nce`` stays a sum here, so that every loss's text reads back."""
        terms = self._terms(node, weight=1.0)
        return self._sum(terms) if isinstance(node, ast.BinOp) else terms[0][1]

    def _texts(self, node: ast.expr, keywords: list[ast.keyword]) -> dict[str, str]:
        """Read a correction's noise, and perhaps its classes."""
        texts: dict[str, str] = {}
        for keyword in keywords:
            given = keyword.arg or "**"
            if given not in ("noise", "classes"):
                self._fail(self._column(keyword), "expected noise='...', and classes='...' if asymmetric")
            if not isinstance(keyword.value, ast.Constant) or not isinstance(keyword.value.value, str):
                self._fail(self._column(keyword), f"{given} must be in quotes, such as '{EXAMPLE[given]}'")
            if given in texts:
                self._fail(self._column(keyword), f"{given!r} is given twice")
            texts[given] = keyword.value.value
        if "noise" not in texts:
            self._fail(self._column(node), "a correction needs its noise, such as noise='symmetric:0.4'")
        return texts

    def _class(self, node: ast.expr, name: str) -> type[Loss]:
        if name.lower() in CORRECTIONS:
            form = f"{name.lower()}(ce, noise='symmetric:0.4')"
            self._fail(self._column(node), f"{name!r} needs a loss and its noise, such as {form},")
        if name.lower() == NormalizedLoss.name:
            self._fail(self._column(node), f"{name!r} needs one loss, such as normalized(ce),")
        cls = CATALOGUE.get(name.lower())
        if cls is None:
            offer = did_you_mean(name, LOSS_NAMES)
            self._fail(self._column(node), f"unknown loss {name!r}", offer)
        return cls

    def _loss(self, node: ast.expr, name: str, keywords: list[ast.keyword]) -> Loss:
        cls = self._class(node, name)
        return self._build(node, cls, **self._values(cls.name, keywords, hyperparameter_defaults(cls)))

    def _own(self, node: ast.Attribute, keywords: list[ast.keyword]) -> Loss:
        path = self._path(node)
        if not self.imports:
            return NamedLoss(path, self._values(path, keywords, None))
        try:
            code = OwnCode(path)
        except NoiseproofError as error:
            self._fail(self._column(node), str(error))
        values = self._values(path, keywords, code.defaults)
        return self._build(node, lambda: code.loss(values))

    def _path(self, node: ast.Attribute) -> str:
        """Give an import path as it was written."""
        lines = self.text.strip().split("\n")
        line = lines[node.lineno - 1].encode()
        path = line[node.col_offset : node.end_col_offset].decode(errors="ignore")
        if import_path.is_import_path(path):
            return path
        module, _, name = path.replace(":", ".").rpartition(".")
        offer = (
            f"did you mean {f'{module}:{name}'!r}?" if import_path.is_import_path(f"{module}:{name}") else ""
        )
        self._fail(
            self._column(node),
            "expected a loss; one of your own is MODULE:NAME, such as 'my_losses:MyLoss',",
            offer,
        )

    def _values(
        self, name: str, keywords: list[ast.keyword], allowed: Mapping[str, float] | None
    ) -> dict[str, float]:
        """Read hyperparameters: those that are ``allowed``, with their defaults; None allows any."""
        values: dict[str, float] = {}
        for keyword in keywords:
            given = keyword.arg or "**"
            if given in values:
                self._fail(self._column(keyword), f"hyperparameter {given!r} is given twice")
            if keyword.arg is None or (allowed is not None and given not in allowed):
                offer = did_you_mean(given, allowed) if allowed else "it takes none"
                self._fail(self._column(keyword), f"{name!r} has no hyperparameter {given!r}", offer)
            role = Role(name, given, None if allowed is None else allowed[given])
            values[given] = self._number(keyword.value, role)
        return values

    def _build(self, node: ast.expr, cls: Callable[..., Loss], *args: Loss, **values: float | str) -> Loss:
        try:
            return cls(*args, **values)
        except NoiseproofError as error:
            self._fail(self._column(node), str(error))

    def _is_number(self, node: ast.expr) -> bool:
        match node:
            case ast.Constant() | ast.UnaryOp():
                return True
            case ast.Name(name):
                return self.numbers is not None and name.lower() not in LOSS_NAMES
        return False

    def _weight(self, node: ast.expr) -> float:
        value = self._number(node, Role())
        if not 0 < value < float("inf"):
            self._fail(self._column(node), f"the weight must be a finite number > 0, got {value:g}")
        return value

    def _number(self, node: ast.expr, role: Role) -> float:
        match node:
            case ast.Name(name) if self.numbers is not None:
                if name.lower() in LOSS_NAMES:
                    self._fail(self._column(node), f"{name!r} is a loss, not a name for a number")
                return self.numbers(name, role)
            case ast.UnaryOp(ast.USub(), ast.Name()) if self.numbers is not None:
                self._fail(self._column(node), "a name stands for the whole number, sign and all,")
            case ast.UnaryOp(ast.USub(), operand):
                return -self._number(operand, role)
            case ast.Constant(int() | float() as value) if not isinstance(value, bool):
                try:
                    return float(value)
                except OverflowError:
                    self._fail(self._column(node), "the number is too large")
        self._fail(self._column(node), "expected a number")

    def _column(self, node: ast.expr | ast.keyword) -> int:
        # ast counts UTF-8 bytes of a line
        line = self.text.strip().split("\n")[node.lineno - 1]
        return self._position(node.lineno, len(line.encode()[: node.col_offset].decode(errors="ignore")))

    def _position(self, line: int, characters: int) -> int:
        """Count characters from 1, as people do, over all lines."""
        before = self.text.strip().split("\n")[: line - 1]
        return sum(len(text) + 1 for text in before) + characters + 1

    def _fail(self, column: int, fault: str, offer: str = "") -> NoReturn:
        offer = f"; {offer}" if offer else ""
        raise NoiseproofError(f"loss {self.text.strip()!r}: {fault} at column {column}{offer}") from None
