#!/usr/bin/env python3
"""Adds up test results and prints the closing line: "N passed, N failed, N skipped".

Reads a folder of GoogleTest JSON files (one a program), ctest's JUnit file (for programs that died
before they wrote one) and pytest's JUnit files. `--checks P F` adds checks that are no test cases.
Exits 1 when anything failed or nothing passed.
"""
import json
import pathlib
import sys
import xml.etree.ElementTree as xml


def count_gtest(path):
    passed = failed = skipped = 0
    for suite in json.loads(path.read_text())["testsuites"]:
        for case in suite["testsuite"]:
            if case.get("failures"):
                failed += 1
            elif case["status"] == "NOTRUN" or case.get("result") == "SKIPPED":
                skipped += 1
            else:
                passed += 1
    return passed, failed, skipped


def count_junit(path):
    passed = failed = skipped = 0
    for case in xml.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def count_ctest(path, programs):
    """Programs without a GoogleTest file count as one case; a failed one with a clean file too."""
    passed = failed = 0
    for case in xml.parse(path).getroot().iter("testcase"):
        ok = case.get("status") == "run"
        counted = programs.get(case.get("name"))
        if counted is None:
            passed, failed = passed + ok, failed + (not ok)
        elif not ok and counted[1] == 0:  # every case passed, yet the program failed: at exit
            failed += 1
    return passed, failed, 0


def main():
    arguments = sys.argv[1:]
    totals = [0, 0, 0]
    if arguments[:1] == ["--checks"]:
        totals[:2] = map(int, arguments[1:3])
        arguments = arguments[3:]
    for folder in map(pathlib.Path, arguments):
        programs = {path.stem: count_gtest(path) for path in folder.glob("*.json")}
        parts = list(programs.values())
        for path in folder.glob("*.xml"):
            ctest = path.name == "ctest.xml"
            parts.append(count_ctest(path, programs) if ctest else count_junit(path))
        totals = [sum(column) for column in zip(totals, *parts)]
    passed, failed, skipped = totals
    line = f"{passed} passed, {failed} failed"
    print(line + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
