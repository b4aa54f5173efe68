#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the results of the GPU kit's run.sh in a folder as the tables of benchmarks/README.md.

usage: table.py DIR
"""

import json
import pathlib
import sys

SECTIONS = ["facts", "contract", "tokens", "layout", "alias", "pages", "chunks", "memcheck", "bench",
            "stream_bench"]
STEPS = ["reserve_us", "create_us", "map_us", "access_us", "unmap_us", "release_us", "unreserve_us"]


def number(value):
    """Formats a number as the benchmark programs do."""
    if value is None:
        return "?"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return str(value)
    return f"{value:.{0 if value >= 10_000 else 1 if value >= 100 else 3}f}"


def cell(value):
    return str(value).replace("|", "\\|").replace("\n", " ")


def table(columns, rows):
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(cell(value) for value in row) + " |")
    print()


def interval(figure):
    return f"{number(figure['median'])} [{number(figure['low'])}, {number(figure['high'])}]"


def claims(figures):
    rows = []
    for claim in figures["claims"]:
        what = f"`{claim['row']}`"
        if claim["over"]:
            what += f" / `{claim['over']}`"
        if claim["figure"] != "nanoseconds":
            what += f", `{claim['figure']}`"
        target = "none"
        for name, sign in (("at_most", "<="), ("at_least", ">=")):
            if name in claim:
                target = f"{sign} {number(claim[name])}: {claim['verdict']}"
        rows.append([what, interval(claim), target])
    if rows:
        table(["what", "measured", "target"], rows)


def benchmark(figures):
    rows = []
    for row in figures["rows"]:
        if "skipped" in row:
            rows.append([f"`{row['name']}`", f"skipped: {row['skipped']}", ""])
            continue
        counters = [f"{name} {number(value['median'])}" for name, value in row.items()
                    if name not in ("name", "nanoseconds")]
        rows.append([f"`{row['name']}`", interval(row["nanoseconds"]), ", ".join(counters)])
    table(["row", "nanoseconds an item", "counters"], rows)
    claims(figures)


def pages(figures):
    rows = []
    for row in figures["rows"]:
        if "skipped" in row:
            rows.append([f"`{row['name']}`", f"skipped: {row['skipped']}"] + [""] * (len(STEPS) - 1))
            continue
        rows.append([f"`{row['name']}`"] +
                    [number(row[step]["median"]) if step in row else "-" for step in STEPS])
    table(["microseconds"] + [step.removesuffix("_us") for step in STEPS], rows)
    claims(figures)


def facts(figures):
    plain = ["device", "compute_capability", "driver", "cuda_of_driver", "cuda_of_kernels", "cccl"]
    rows = [[name, figures[name]] for name in plain]
    rows += [["memory." + name, value] for name, value in figures["memory"].items()]
    for group in ("attributes", "mapping", "multicast"):
        values = figures[group]
        if isinstance(values, dict):
            rows += [[f"{group}.{name}", value] for name, value in values.items()]
        else:
            rows.append([group, values])
    table(["fact", "value"], rows)
    table(["kind of memory", "granularity", "recommended", "create"],
          [[name, kind["granularity"], kind.get("recommended", "-"), kind["create"]]
           for name, kind in figures["memory_kinds"].items()])


def alias(figures):
    if not figures["legal"]:
        print(f"A page cannot be mapped twice: {figures['why']}\n")
        return
    table(["written through", "then", "read by", "stale words"],
          [[seen["writer"], seen["between"], seen["reader"], f"{seen['stale']} of {seen['words']}"]
           for seen in figures["seen"]])


def counts(figures):
    table(list(figures), [list(figures.values())])


PRINTERS = {"facts": facts, "alias": alias, "pages": pages, "chunks": benchmark, "bench": benchmark,
            "stream_bench": benchmark}


def read(folder):
    """Returns the results of all sections that have one, in the order in which they run."""
    results = []
    for name in SECTIONS:
        path = folder / f"{name}.json"
        if path.exists():
            with path.open(encoding="utf-8") as file:
                results.append(json.load(file))
    return results


def print_section(result):
    figures = result["figures"]
    if not figures:
        if result["section"] in PRINTERS:
            print(f"### {result['section']}\n\nNot measured: {result['why'] or result['verdict']}.\n")
        return
    print(f"### {result['section']}\n")
    notes = "".join(f"; {note}" for note in figures.get("notes", []))
    rounds = f", {figures['rounds']} interleaved rounds" if "rounds" in figures else ""
    print(f"On {result['device']}{rounds}{notes}.\n")
    PRINTERS.get(result["section"], counts)(figures)


def print_all(results):
    table(["section", "verdict", "seconds", "device", "why"],
          [[result["section"], result["verdict"], number(result["seconds"]), result["device"],
            result["why"]] for result in results])
    for result in results:
        print_section(result)


def main(arguments):
    if len(arguments) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    folder = pathlib.Path(arguments[1])
    try:
        results = read(folder)
        if not results:
            print(f"table.py: {folder} contains no results of run.sh", file=sys.stderr)
            return 1
        print_all(results)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"table.py: {folder} contains results that run.sh cannot have written: {error}",
              file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
