# SPDX-License-Identifier: Apache-2.0
"""Runs the unittest modules named, and says in TAP what came of each case: python3 tap.py MODULE..."""

import os
import sys
import unittest


class TapResult(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.reported = 0

    def report(self, ok, test, directive="", details=""):
        self.reported += 1
        print(f"{'ok' if ok else 'not ok'} {self.reported} - {test}{directive}", flush=True)
        for line in details.splitlines():
            print(f"# {line}", file=sys.stderr)

    def report_failure(self, test, details):
        """With what the test itself has to show, if it has an evidence()."""
        evidence = getattr(test, "evidence", str)
        self.report(False, test.id(), details=evidence() + "\n" + details)

    def addSuccess(self, test):
        self.report(True, test.id())

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report_failure(test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.report_failure(test, self.errors[-1][1])

    def addSkip(self, test, reason):
        self.report(True, test.id(), f" # SKIP {reason}")

    def addSubTest(self, test, subtest, err):
        """Only failures are told here; the case itself succeeds when all its parts did."""
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.report(False, subtest.id(), details=self._exc_info_to_string(err, test))


def main():
    sys.path.insert(0, os.getcwd())
    suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:])
    result = TapResult()
    suite.run(result)
    print(f"1..{result.reported}")
    return 0 if result.wasSuccessful() and result.reported else 1


if __name__ == "__main__":
    sys.exit(main())
