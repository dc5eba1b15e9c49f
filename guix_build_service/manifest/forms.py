"""Forms of Scheme with rules of their own: names, conditions, quotations, procedures that a file defines."""

from collections.abc import Mapping

from guix_build_service.manifest.evaluation import CORE, Evaluation, Level, Scope, Special, joined, quoted
from guix_build_service.manifest.parameters import procedure
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Datum, Form, Position, Symbol
from guix_build_service.manifest.values import NAME_THEM, Procedure, Refused, Several, Unspecified, Value, same

LATER = {
    "package": "it defines a package of its own, which would have to be evaluated and built.",
    "package/inherit": "it defines a package of its own, which would have to be evaluated and built.",
    "origin": "it defines a source of its own, which would have to be evaluated and fetched.",
}
"""What a definition may hold as long as nobody uses it: records that Guix only makes, with what it costs to use them."""


def run(evaluation: Evaluation, data: tuple[Datum, ...], scope: Scope) -> Value:
    """Return the value of the last of DATA, which are what a file or a body consists of."""
    value: Value = Unspecified()
    for datum in data:
        value = evaluation.value(datum, scope)
    return value


def _define(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    match form.items:
        case (_, Symbol(name=name), body) if form.tail is None:
            if isinstance(body, Form) and body.head() in LATER and scope.find(body.head()) is None:
                scope.values[name] = Refused(LATER[body.head()], body.position)
            else:
                scope.values[name] = evaluation.one(body, scope)
        case (_, Form(items=(Symbol(name=name), *_)) as signature, _, *_) if form.tail is None:
            evaluation.mark(Level.PROCEDURES)
            parameters = Form(signature.items[1:], signature.position, signature.tail)
            scope.values[name] = procedure(evaluation, name, parameters, form.items[2:], scope, run)
        case _:
            raise unreadable(form.position, "this definition has not one name and one value.")
    return Unspecified()


def _lambda(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) < 3:
        raise unreadable(form.position, "this lambda has no parameters or no body.")
    return procedure(evaluation, "lambda", form.items[1], form.items[2:], scope, run)


def _quote(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) != 2:
        raise unreadable(form.position, "a quotation holds one thing.")
    return quoted(evaluation, form.items[1]) if form.head() == "quote" else _quasi(evaluation, form.items[1], scope)


def _quasi(evaluation: Evaluation, datum: Datum, scope: Scope) -> Value:
    evaluation.step(datum.position)
    if not isinstance(datum, Form):
        return quoted(evaluation, datum)
    if datum.head() == "quasiquote":
        raise unreadable(datum.position, "a quasiquote within another is not read.")
    if datum.head() == "unquote" and len(datum.items) == 2:
        evaluation.mark(Level.COMBINED)
        return evaluation.one(datum.items[1], scope)
    items, tail = datum.items, _quasi(evaluation, datum.tail, scope) if datum.tail is not None else ()
    if len(items) > 2 and isinstance(items[-2], Symbol) and items[-2].name == "unquote":
        # (a . ,b) reads as (a unquote b).
        items, tail = items[:-2], evaluation.one(items[-1], scope)
    values: list[Value] = []
    for item in items:
        if isinstance(item, Form) and item.head() == "unquote-splicing" and len(item.items) == 2:
            evaluation.mark(Level.COMBINED)
            values += evaluation.sequence(evaluation.one(item.items[1], scope), item.position)
        else:
            values.append(_quasi(evaluation, item, scope))
    return joined(tuple(values), tail)


def _bindings(form: Form, datum: Datum) -> tuple[Datum, ...]:
    if isinstance(datum, Form) and datum.tail is None:
        return datum.items
    raise unreadable(form.position, f"this {form.head()} has no bindings or no body.")


def _let(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) > 3 and isinstance(form.items[1], Symbol) and form.head() == "let":
        return _named_let(evaluation, form, form.items[1].name, scope)
    if len(form.items) < 3:
        raise unreadable(form.position, f"this {form.head()} has no bindings or no body.")
    inner = Scope({}, scope)
    for binding in _bindings(form, form.items[1]):
        name, body = _binding(binding)
        if form.head() == "let*":
            inner = Scope({name: evaluation.one(body, inner)}, inner)
        else:
            inner.values[name] = evaluation.one(body, scope if form.head() == "let" else inner)
    return run(evaluation, form.items[2:], Scope({}, inner))


def _binding(binding: Datum) -> tuple[str, Datum]:
    match binding:
        case Form(items=(Symbol(name=name), body), tail=None):
            return name, body
    raise unreadable(binding.position, "a binding is a name and a value.")


def _named_let(evaluation: Evaluation, form: Form, name: str, scope: Scope) -> Value:
    evaluation.mark(Level.PROCEDURES)
    bindings = [_binding(item) for item in _bindings(form, form.items[2])]
    inner = Scope({}, scope)
    parameters = Form(tuple(Symbol(parameter, form.position) for parameter, _ in bindings), form.position)
    inner.values[name] = loop = procedure(evaluation, name, parameters, form.items[3:], inner, run)
    return evaluation.apply(loop, [evaluation.one(body, scope) for _, body in bindings], form.position)


def _begin(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) < 2:
        raise unreadable(form.position, "this is empty.")
    return run(evaluation, form.items[1:], scope)


def _if(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) not in {3, 4}:
        raise unreadable(form.position, "an if has a condition and one or two branches.")
    if evaluation.truth(evaluation.one(form.items[1], scope), form.position):
        return evaluation.value(form.items[2], scope)
    return evaluation.value(form.items[3], scope) if len(form.items) == 4 else Unspecified()


def _when(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) < 3:
        raise unreadable(form.position, f"this {form.head()} has no condition or no body.")
    chosen = evaluation.truth(evaluation.one(form.items[1], scope), form.position) is (form.head() == "when")
    return run(evaluation, form.items[2:], Scope({}, scope)) if chosen else Unspecified()


def _cond(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    for clause in form.items[1:]:
        if not isinstance(clause, Form) or not clause.items or clause.tail is not None:
            raise unreadable(clause.position, "this is no clause of cond.")
        test, *body = clause.items
        if isinstance(test, Symbol) and test.name == "else" and scope.find("else") is None:
            return run(evaluation, tuple(body), Scope({}, scope))
        value = evaluation.one(test, scope)
        if evaluation.truth(value, clause.position):
            return _chosen(evaluation, value, tuple(body), clause.position, scope)
    return Unspecified()


def _chosen(evaluation: Evaluation, value: Value, body: tuple[Datum, ...], position: Position, scope: Scope) -> Value:
    if body and isinstance(body[0], Symbol) and body[0].name == "=>":
        if len(body) != 2:
            raise unreadable(position, "after => there is one procedure.")
        return evaluation.apply(evaluation.one(body[1], scope), [value], position)
    return run(evaluation, body, Scope({}, scope)) if body else value


def _case(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) < 2:
        raise unreadable(form.position, "this case is about nothing.")
    value = evaluation.one(form.items[1], scope)
    for clause in form.items[2:]:
        if not isinstance(clause, Form) or len(clause.items) < 2 or clause.tail is not None:
            raise unreadable(clause.position, "this is no clause of case.")
        choices = clause.items[0]
        if isinstance(choices, Symbol) and choices.name == "else":
            return run(evaluation, clause.items[1:], Scope({}, scope))
        found = evaluation.elements(quoted(evaluation, choices), choices.position)
        # `case' compares by eqv?, for which no two strings or lists are the same.
        if any(not isinstance(item, str | tuple) and same(evaluation, item, value, clause.position) for item in found):
            return run(evaluation, clause.items[1:], Scope({}, scope))
    return Unspecified()


def _logic(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    wanted = form.head() == "or"
    value: Value = not wanted
    for item in form.items[1:]:
        value = evaluation.one(item, scope)
        if evaluation.truth(value, item.position) is wanted:
            return value
    return value


def _receive(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) < 4:
        raise unreadable(form.position, "this receive has no names, no values or no body.")
    values = evaluation.value(form.items[2], scope)
    several = values.items if isinstance(values, Several) else (values,)
    body = procedure(evaluation, "receive", form.items[1], form.items[3:], scope, run)
    return evaluation.apply(body, several, form.position)


def _cut(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    """Return a procedure with the arguments that are given, and places for those that are not."""
    evaluation.mark(Level.PROCEDURES)
    if len(form.items) < 2:
        raise unreadable(form.position, "cut takes a procedure.")
    known: list[Value | None] = []
    for item in form.items[1:]:
        if isinstance(item, Symbol) and item.name == "<...>":
            raise unreadable(item.position, "cut is read with <> alone.", hint=NAME_THEM)
        known.append(None if isinstance(item, Symbol) and item.name == "<>" else evaluation.one(item, scope))

    def apply(inner: Evaluation, arguments: list[Value], position: Position) -> Value:
        if len(arguments) != known.count(None):
            raise unreadable(position, "a procedure made by cut gets too few or too many arguments.")
        given = iter(arguments)
        head, *rest = [next(given) if value is None else value for value in known]
        return inner.apply(head, rest, position)

    return Procedure("cut", apply)


_SRFI_26 = (("srfi", "srfi-26"),)

SPECIAL: Mapping[str, Special] = {
    "define": Special((CORE,), _define),
    "define*": Special((CORE,), _define),
    "define-public": Special((CORE, ("guix", "packages")), _define),
    "lambda": Special((CORE,), _lambda, Level.PROCEDURES),
    "lambda*": Special((CORE,), _lambda, Level.PROCEDURES),
    "quote": Special((CORE,), _quote, Level.LITERAL),
    "quasiquote": Special((CORE,), _quote, Level.LITERAL),
    "let": Special((CORE,), _let),
    "let*": Special((CORE,), _let),
    "letrec": Special((CORE,), _let),
    "letrec*": Special((CORE,), _let),
    "begin": Special((CORE,), _begin),
    "if": Special((CORE,), _if, Level.PROCEDURES),
    "when": Special((CORE,), _when, Level.PROCEDURES),
    "unless": Special((CORE,), _when, Level.PROCEDURES),
    "cond": Special((CORE,), _cond, Level.PROCEDURES),
    "case": Special((CORE,), _case, Level.PROCEDURES),
    "and": Special((CORE,), _logic, Level.PROCEDURES),
    "or": Special((CORE,), _logic, Level.PROCEDURES),
    "receive": Special((("ice-9", "receive"), ("srfi", "srfi-8")), _receive, Level.PROCEDURES),
    "cut": Special(_SRFI_26, _cut, Level.PROCEDURES),
    "cute": Special(_SRFI_26, _cut, Level.PROCEDURES),
}
"""By their names."""
