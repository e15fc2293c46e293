# SPDX-License-Identifier: Apache-2.0
"""sallyport schema."""

import json
import os

from support import NO, OK, USAGE, Case

TYPES = {"int", "bool", "string", "strings", "zones", "matcher", "stack"}
ACCESS = {"config-read", "config-write", "run-read", "run-write"}


class Schema(Case):
    def schema(self):
        return json.loads(self.assertRuns(OK, "schema").stdout)["proxies"]

    def test_proxies(self):
        self.assertLessEqual({"smtp", "plug"}, set(self.schema()))

    def test_attributes(self):
        for name, proxy in self.schema().items():
            for row in proxy["attributes"]:
                with self.subTest(proxy=name, attribute=row["name"]):
                    self.assertIn(row["type"], TYPES)
                    self.assertLessEqual(set(row["access"]), ACCESS)
                    self.assertIn(row["home"], ("config", "run"))
                    self.assertTrue(row["doc"])
                    if row["type"] == "int" and row["min"] is not None:
                        self.assertLessEqual(row["min"], row["default"])
                        self.assertLessEqual(row["default"], row["max"])

    def test_what_policies_name(self):
        smtp = self.schema()["smtp"]
        timeout = next(row for row in smtp["attributes"] if row["name"] == "timeout")
        self.assertEqual((timeout["type"], timeout["default"]), ("int", 600000))
        request = next(table for table in smtp["tables"] if table["name"] == "request")
        actions = {action["name"]: action for action in request["actions"]}
        self.assertTrue(any(action["calls"] for action in actions.values()))
        relay = next(hook for hook in smtp["hooks"] if hook["name"] == "relayCheck")
        self.assertEqual((relay["arguments"], relay["native"]), (["email"], True))

    def test_build_made_the_same_file(self):
        path = os.path.join(os.path.dirname(os.environ["SALLYPORT"]), "schema.json")
        with open(path, encoding="utf-8") as f:
            self.assertEqual(json.load(f)["proxies"], self.schema())

    def test_usage(self):
        self.assertRuns(NO, "schema", "--markdown", "nosuch")
        self.assertRuns(USAGE, "schema", "--markdown")
        self.assertRuns(USAGE, "schema", "x")
