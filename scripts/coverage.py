#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: scripts/coverage.py DIR REASONS LINUX RECORD GUESTS LOG...

The second half of scripts/coverage: makes files of the counters in the LOGs, the first of
which is of the suites and the others of GUESTS, has gcov read them with the notes in DIR,
adds up, and prints what was reached. RECORD is a file to write, or empty.
"""
import collections
import json
import os
import re
import shutil
import subprocess
import sys

work, reasons_file, linux, record, guests, *logs = sys.argv[1:]
# Where each range that was not reached needs a reason
STRICT = ["kernel/dma/direct.c", "kernel/dma/direct.h", "include/linux/dma-direct.h",
          "kernel/dma/swiotlb.c", "include/linux/swiotlb.h", "kernel/dma/pool.c"]
MORE = ["kernel/dma/mapping.c", "kernel/dma/coherent.c", "drivers/iommu/dma-iommu.c"]


def counters(log):
    """The files in a log: each is a name and its bytes"""
    name, data = None, bytearray()
    with open(log, errors="replace") as f:
        for line in f:
            m = re.search(r"gcov: (file|data|end)\s?(\S*)", line)
            if not m:
                continue
            what, arg = m.groups()
            if what == "file":
                name, data = arg, bytearray()
            elif what == "data" and name:
                for zeros, byte in re.findall(r"z(\d+)\.|([0-9a-f]{2})", arg):
                    data += bytes(int(zeros)) if zeros else bytes([int(byte, 16)])
            elif what == "end" and name:
                yield name, bytes(data)
                name = None


def gcov(name, data, where):
    """What gcov makes of the counters of one object"""
    os.makedirs(where, exist_ok=True)
    base = os.path.basename(name)[:-len(".gcda")]
    with open(f"{where}/{base}.gcda", "wb") as f:
        f.write(data)
    shutil.copy(f"{work}/{base}.gcno", where)
    out = subprocess.run(["gcov", "-b", "--json-format", "--stdout", f"{base}.gcda"],
                         cwd=where, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


class Line:
    def __init__(self):
        self.count, self.function, self.branches = 0, "", []

    def add(self, entry):
        self.count += entry["count"]
        self.function = self.function or entry.get("function_name", "")
        branches = [b["count"] for b in entry["branches"]]
        # An inline function may be of another shape in another object
        if len(branches) == len(self.branches):
            self.branches = [a + b for a, b in zip(self.branches, branches)]
        elif sum(map(bool, branches)) > sum(map(bool, self.branches)):
            self.branches = branches


files = collections.defaultdict(lambda: collections.defaultdict(Line))


def add_up(log):
    for n, (name, data) in enumerate(counters(log)):
        if not re.search(r"/(kernel/dma|drivers/iommu)/[^/]*$", name):
            continue        # of the same name elsewhere in the tree
        for result in gcov(name, data, f"{work}/{os.path.basename(log)}.{n}"):
            for file in result["files"]:
                path = os.path.relpath(os.path.join(linux, file["file"]), linux)
                if path not in STRICT + MORE:
                    continue
                for entry in file["lines"]:
                    files[path][entry["line_number"]].add(entry)


# FILE FUNCTION | beginning of the first line of a range, or * | reason
reasons, used = [], set()
with open(reasons_file) as f:
    for line in f:
        if line.strip() and not line.startswith("#"):
            where, text, why = (s.strip() for s in line.split("|", 2))
            reasons.append((*where.split(), text, why))


def reason(path, function, text):
    for i, (file, func, start, why) in enumerate(reasons):
        if file == path and func == (function or "?") and (start == "*" or text.startswith(start)):
            used.add(i)
            return why
    return None


def ranges(path):
    """(function, first, last, text of the first) of what was not reached"""
    with open(os.path.join(linux, path)) as f:
        text = f.read().splitlines()
    found, last = [], None
    for nr in sorted(files[path]):
        line = files[path][nr]
        if line.count:
            last = None
        elif last and last[0] == line.function:
            last[2] = nr
        else:
            last = [line.function, nr, nr, text[nr - 1].strip()]
            found.append(last)
    return found


def share(n, of):
    return f"{n} of {of} ({100 * n / of:.1f}%)" if of else "-"


def shares(path):
    lines = files[path].values()
    branches = [b for line in lines if line.count for b in line.branches]
    every = [b for line in lines for b in line.branches]
    return (share(sum(1 for x in lines if x.count), len(lines)) + " | " +
            share(sum(1 for b in branches if b), len(every)))


rows = collections.defaultdict(str)
for log in logs:
    add_up(log)
    for path in STRICT + MORE:
        rows[path] += f" {shares(path)} |" if log in (logs[0], logs[-1]) else ""
        if path in STRICT and log == logs[0]:
            for function, first, last, text in ranges(path):
                reason(path, function, text)
bad = [f"reason for nothing: {' '.join(r[:2])} | {r[2]}"
       for i, r in enumerate(reasons) if i not in used]
out = ["| file | lines | branches |" + (" lines, with guests | branches |" if guests else ""),
       "|---|---|---|" + ("---|---|" if guests else "")]
out += [f"| `{path}` |{row}" for path, row in rows.items()]
out += ["", "| not reached | lines | begins with | reason |", "|---|---|---|---|"]
passed = 0
for path in STRICT:
    for function, first, last, text in ranges(path):
        why = reason(path, function, text)
        span = f"{first}" if first == last else f"{first}-{last}"
        if why:
            passed += 1
            out.append(f"| `{os.path.basename(path)}`: `{function or '?'}` | {span} | "
                       f"`{text.replace('|', chr(92) + '|')}` | {why} |")
        else:
            bad.append(f"no reason: {path} {function or '?'} {span}: {text}")
print("\n".join(out + bad))
if record:
    with open(record, "w") as f:
        f.write(f"""# What the tests reach of the DMA layer

Written by `scripts/coverage --record` from a run of the KUnit suites on
x86_64{"; with guests: " + guests if guests else ""}.
What was not reached is joined with the reasons in `coverage-reasons`; `__init` functions
count like others. Branches are those of the compiler, so that a condition of several parts
has several.

""" + "\n".join(out) + "\n")
print(f"coverage: {passed} passed, {len(bad)} failed")
sys.exit(bool(bad))
