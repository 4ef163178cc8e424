#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compile a GraphQL schema file to C tables (see src/server/graphql/schema.h).

usage: gqlgen.py SCHEMA.graphql SYMBOL OUT.h OUT.c

OUT.h has `extern const struct gql_schema SYMBOL`, one constant TYPE_<Name> per type and the
prototype of every resolver. Field f of type T is answered by resolve_T_f, unless T carries
`@as(name: "x")`: then by resolve_x_f, which several types may share. The schema language is
the usual one without `schema` and `directive` definitions; lists have one level.
"""
import re
import sys

TOKEN = re.compile(r'[\s,]+|#[^\n]*|(?P<block>"""(?:.|\n)*?""")|(?P<str>"[^"\n]*")'
                   r'|(?P<name>[_A-Za-z]\w*)|(?P<num>-?\d+(?:\.\d+)?)|(?P<p>[!$&()=:@\[\]{|}])')
SCALARS = {
    "Boolean": "GQL_SC_BOOLEAN", "Int": "GQL_SC_INT", "Int64": "GQL_SC_INT",
    "Float": "GQL_SC_FLOAT", "String": "GQL_SC_STRING", "ID": "GQL_SC_STRING",
    "DateTime": "GQL_SC_STRING", "JSONString": "GQL_SC_JSONSTRING",
    "Unsupported": "GQL_SC_UNSUPPORTED",
}


class Bad(Exception):
    pass


class Parser:
    def __init__(self, text):
        self.toks, at = [], 0
        while at < len(text):
            m = TOKEN.match(text, at)
            if not m:
                raise Bad(f"line {text.count(chr(10), 0, at) + 1}: cannot read {text[at:at + 20]!r}")
            if m.lastgroup:
                self.toks.append((m.lastgroup, m.group(), text.count("\n", 0, at) + 1))
            at = m.end()
        self.toks.append(("eof", "", 0))
        self.i = 0

    def peek(self, text):
        return self.toks[self.i][1] == text and self.toks[self.i][0] in ("p", "name")

    def take(self, text=None, kind=None):
        k, t, line = self.toks[self.i]
        if (text and t != text) or (kind and k != kind):
            raise Bad(f"line {line}: expected {text or kind}, found {t!r}")
        self.i += 1
        return t

    def maybe(self, text):
        if self.peek(text):
            self.i += 1
            return True
        return False

    def describe(self):
        while self.toks[self.i][0] in ("block", "str"):
            self.i += 1

    def ref(self):
        if self.maybe("["):
            inner = self.take(kind="name")
            item = self.maybe("!")
            self.take("]")
            return dict(type=inner, list=True, item=item, nonnull=self.maybe("!"))
        return dict(type=self.take(kind="name"), list=False, item=False, nonnull=self.maybe("!"))

    def value(self):
        k, t, line = self.toks[self.i]
        self.i += 1
        if k in ("num", "str", "name"):
            return (k, t)
        if t == "[":
            items = []
            while not self.maybe("]"):
                items.append(self.value())
            return ("list", items)
        raise Bad(f"line {line}: default value {t!r} is not supported")

    def directives(self):
        out = {}
        while self.maybe("@"):
            name, args = self.take(kind="name"), {}
            if self.maybe("("):
                while not self.maybe(")"):
                    k = self.take(kind="name")
                    self.take(":")
                    args[k] = self.value()[1].strip('"')
            out[name] = args
        return out

    def inputs(self, close):
        out = []
        while not self.maybe(close):
            self.describe()
            name = self.take(kind="name")
            self.take(":")
            ref = self.ref()
            out.append((name, ref, self.value() if self.maybe("=") else None))
            self.directives()
        return out

    def fields(self):
        out = []
        if not self.maybe("{"):
            return out
        while not self.maybe("}"):
            self.describe()
            name = self.take(kind="name")
            args = self.inputs(")") if self.maybe("(") else []
            self.take(":")
            out.append(dict(name=name, args=args, ref=self.ref(), directives=self.directives()))
        return out

    def definitions(self):
        types = {}
        while self.toks[self.i][0] != "eof":
            self.describe()
            extend = self.maybe("extend")
            kind = self.take(kind="name")
            name = self.take(kind="name")
            t = types.get(name)
            if bool(t) != extend:
                raise Bad(f"type {name} is {'not yet defined' if extend else 'defined twice'}")
            if not t:
                t = types[name] = dict(kind=kind, fields=[], inputs=[], values=[], of=[], directives={})
            if self.maybe("implements"):
                self.maybe("&")
                t["of"].append(self.take(kind="name"))
                while self.maybe("&"):
                    t["of"].append(self.take(kind="name"))
            t["directives"].update(self.directives())
            if kind in ("type", "interface"):
                t["fields"] += self.fields()
            elif kind == "input":
                self.take("{")
                t["inputs"] += self.inputs("}")
            elif kind == "enum":
                self.take("{")
                while not self.maybe("}"):
                    self.describe()
                    t["values"].append(self.take(kind="name"))
            elif kind == "union":
                self.take("=")
                self.maybe("|")
                t["of"].append(self.take(kind="name"))
                while self.maybe("|"):
                    t["of"].append(self.take(kind="name"))
            elif kind != "scalar":
                raise Bad(f"unknown definition {kind!r}")
        return types


def check(types):
    def known(ref, where, want):
        t = types.get(ref["type"])
        if not t:
            raise Bad(f"{where}: unknown type {ref['type']}")
        if t["kind"] not in want:
            raise Bad(f"{where}: {ref['type']} cannot be used here")
    inputs, outputs = ("scalar", "enum", "input"), ("scalar", "enum", "type", "interface", "union")
    for name, t in types.items():
        seen = set()
        for f in t["fields"]:
            if f["name"] in seen:
                raise Bad(f"{name}.{f['name']} is defined twice")
            seen.add(f["name"])
            known(f["ref"], f"{name}.{f['name']}", outputs)
            for a, ref, _ in f["args"]:
                known(ref, f"{name}.{f['name']}({a}:)", inputs)
        for a, ref, _ in t["inputs"]:
            known(ref, f"{name}.{a}", inputs)
        for of in t["of"]:
            if types.get(of, {}).get("kind") not in ("interface", "type"):
                raise Bad(f"{name}: unknown type {of}")
        if t["kind"] == "type":
            for i in t["of"]:
                for f in types[i]["fields"]:
                    if f["name"] not in seen:
                        raise Bad(f"{name} implements {i} but lacks {f['name']}")


class Emitter:
    def __init__(self, types, symbol):
        self.types, self.symbol = types, symbol
        self.index = {n: i for i, n in enumerate(types)}
        self.out, self.serial, self.resolvers = [], 0, {}

    def literal(self, value):
        """A C initialiser of struct gql_value and the name of its variable."""
        kind, text = value
        init = {
            "num": lambda: f".kind = {'GQL_FLOAT' if '.' in text else 'GQL_INT'}, "
                           f".i = {int(float(text))}, .f = {float(text)!r}",
            "str": lambda: f".kind = GQL_STRING, .s = {{{text}, {len(text) - 2}}}",
            "name": lambda: {"true": ".kind = GQL_BOOL, .b = true", "false": ".kind = GQL_BOOL",
                             "null": ".kind = GQL_NULL"}.get(
                                 text, f'.kind = GQL_ENUM, .s = {{"{text}", {len(text)}}}'),
            "list": lambda: f".kind = GQL_LIST, .n = {len(text)}, .first = {self.chain(text)}",
        }[kind]()
        return init

    def constant(self, init):
        self.serial += 1
        self.out.append(f"static const struct gql_value value_{self.serial} = {{{init}}};")
        return f"&value_{self.serial}"

    def chain(self, items):
        after = "NULL"
        for it in reversed(items):
            after = self.constant(self.literal(it) + f", .next = {after}")
        return after

    def ref(self, r):
        b = ["false", "true"]
        return (f"{{{self.index[r['type']]}, {b[r['nonnull']]}, {b[r['list']]}, {b[r['item']]}}}")

    def input_table(self, name, inputs):
        if not inputs:
            return "NULL"
        rows = []
        for n, r, d in inputs:
            fallback = self.constant(self.literal(d)) if d else "NULL"
            rows.append(f'    {{{{"{n}", {len(n)}}}, {self.ref(r)}, {fallback}}},')
        self.out += [f"static const struct gql_input {name}[] = {{", *rows, "};"]
        return name

    def field_table(self, tname, t):
        if not t["fields"]:
            return "NULL"
        rows = []
        prefix = t["directives"].get("as", {}).get("name", tname)
        for f in t["fields"]:
            args = self.input_table(f"args_{tname}_{f['name']}", f["args"])
            fn = "NULL"
            if t["kind"] == "type" and f["ref"]["type"] != "Unsupported":
                fn = f"resolve_{f['directives'].get('as', {}).get('name', prefix)}_{f['name']}"
                self.resolvers[fn] = None
            rows.append(f'    {{{{"{f["name"]}", {len(f["name"])}}}, {self.ref(f["ref"])}, {args}, '
                        f'{len(f["args"])}, {fn}}},')
        self.out += [f"static const struct gql_field fields_{tname}[] = {{", *rows, "};"]
        return f"fields_{tname}"

    def possible(self, name, t):
        if t["kind"] == "type":
            return [name]
        if t["kind"] == "union":
            return t["of"]
        if t["kind"] == "interface":
            return [n for n, x in self.types.items() if x["kind"] == "type" and name in x["of"]]
        return []

    def type_row(self, name, t):
        kind = dict(scalar="GQL_SCALAR", enum="GQL_ENUM_TYPE", input="GQL_INPUT",
                    type="GQL_OBJECT_TYPE", interface="GQL_INTERFACE", union="GQL_UNION")[t["kind"]]
        fields = self.field_table(name, t)
        inputs = self.input_table(f"inputs_{name}", t["inputs"])
        possible, values = self.possible(name, t), t["values"]
        if possible:
            ids = ", ".join(str(self.index[p]) for p in possible)
            self.out.append(f"static const uint16_t possible_{name}[] = {{{ids}}};")
        if values:
            rows = ", ".join(f'{{"{v}", {len(v)}}}' for v in values)
            self.out.append(f"static const struct str values_{name}[] = {{{rows}}};")
        return (f'    {{{{"{name}", {len(name)}}}, {kind}, {SCALARS.get(name, "GQL_SC_ANY")}, {fields}, '
                f'{len(t["fields"])}, {inputs}, {len(t["inputs"])}, '
                f'{"possible_" + name if possible else "NULL"}, {len(possible)}, '
                f'{"values_" + name if values else "NULL"}, {len(values)}}},')

    def run(self):
        rows = [self.type_row(n, t) for n, t in self.types.items()]
        mutation = self.index.get("Mutation", self.index["Query"])
        return (self.out + [f"static const struct gql_type types[] = {{", *rows, "};",
                            f"const struct gql_schema {self.symbol} = {{types, {len(rows)}, "
                            f"{self.index['Query']}, {mutation}}};"])


def main():
    schema, symbol, out_h, out_c = sys.argv[1:]
    try:
        types = Parser(open(schema).read()).definitions()
        for s in ("Boolean", "Int", "Float", "String", "ID"):
            types.setdefault(s, dict(kind="scalar", fields=[], inputs=[], values=[], of=[], directives={}))
        check(types)
        em = Emitter(types, symbol)
        body = em.run()
    except Bad as e:
        sys.exit(f"{schema}: {e}")
    note = f"/* Made from {schema.split('/')[-1]} by tools/gqlgen.py. */"
    guard = f"TARE_GEN_{symbol.upper()}_H"
    with open(out_h, "w") as f:
        print(note, f"#ifndef {guard}", f"#define {guard}", '#include "server/graphql/schema.h"', "",
              f"extern const struct gql_schema {symbol};", "", "enum {",
              *(f"    TYPE_{n} = {i}," for n, i in em.index.items()), "};", "",
              *(f"gql_resolver {r};" for r in em.resolvers), "", "#endif", sep="\n", file=f)
    with open(out_c, "w") as f:
        print(note, f'#include "{out_h.split("/")[-1]}"', "", *body, sep="\n", file=f)


if __name__ == "__main__":
    main()
