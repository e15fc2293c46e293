# SPDX-License-Identifier: Apache-2.0
"""docs/reference/declarations.md names each parameter of the classes, and tests that exist."""

import inspect
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
STATES = ("works", "refused", "not yet", "no effect")


def sections():
    """Heading -> its rows, each a list of cells."""
    found, rows = {}, None
    for line in (ROOT / "docs/reference/declarations.md").read_text().splitlines():
        if line.startswith("## "):
            rows = found[line[3:]] = []
        elif line.startswith("| ") and rows is not None and not re.match(r"\| *(parameter)? *\| state", line):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_exists(name):
    """module.function: of a Python test, a method; of a C test, a function that its table names."""
    module, function = name.split(".")
    for path in [*ROOT.glob("tests/*/%s.py" % module), *ROOT.glob("tests/unit/*/%s.c" % module)]:
        text = path.read_text()
        if re.search(r"def %s\(" % function, text) or re.search(r"cmocka_unit_test\w*\(%s\b" % function, text):
            return True
    return False


class Declarations(unittest.TestCase):
    def test_every_row_has_a_state_and_tests(self):
        rows = [row for part in sections().values() for row in part]
        self.assertGreater(len(rows), 50)
        for what, state, tests in rows:
            with self.subTest(what):
                self.assertIn(state.split(":")[0], STATES)
                names = re.findall(r"`(test_\w+\.\w+)`", tests)
                self.assertTrue(names)
                self.assertEqual([name for name in names if not test_exists(name)], [])

    def test_every_parameter_is_there(self):
        from Zorp import Rule as rule
        from Zorp.Encryption import ServerCertificateVerifier
        from Zorp.Service import DenyService, PFService, Service
        from Zorp.Zone import Zone
        for cls in (Service, PFService, DenyService, Zone, ServerCertificateVerifier):
            parameters = list(inspect.signature(cls.__init__).parameters)[1:]
            self.assertEqual(self.missing(cls.__name__, parameters), [])
        self.assertEqual(self.missing("Rule", [*rule._DIMENSIONS, *rule._KEYWORDS]), [])

    def missing(self, heading, parameters):
        told = set(re.findall(r"`(\w+)`", " ".join(row[0] for row in sections()[heading])))
        return [name for name in parameters if name not in told]

    def test_a_test_that_is_gone_is_found(self):
        self.assertFalse(test_exists("test_policy_bad.test_nosuch"))
        self.assertFalse(test_exists("test_nosuch.test_services"))


if __name__ == "__main__":
    unittest.main()
