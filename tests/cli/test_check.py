# SPDX-License-Identifier: Apache-2.0
"""sallyport check: all problems with their places, silence when there is none, and its exit statuses."""

import json
import os
import pwd
import signal
import subprocess
import time
import unittest

from support import GOOD, NO, OK, REFUSED, SALLYPORT, USAGE, Case


class Good(Case):
    def test_silent_and_zero(self):
        result = self.assertRuns(OK, "check", self.write(GOOD))
        self.assertEqual(result.stdout + result.stderr, "")

    def test_json_of_nothing_is_nothing(self):
        self.assertEqual(self.problems(self.write(GOOD), status=OK), [])

    def test_relative_name(self):
        self.write(GOOD)
        self.assertRuns(OK, "check", "policy.py")

    def test_chosen_instance(self):
        path = self.write(GOOD + "\n    def other():\n        Rule(service='nosuch')\n")
        self.assertRuns(OK, "check", path, "--instance", "default_instance")
        self.assertRuns(NO, "check", path, "--instance", "other")
        self.assertRuns(NO, "check", path, "--instance", "nosuch")

    def test_what_a_policy_prints_is_no_answer(self):
        result = self.assertRuns(OK, "check", self.write(GOOD + "\n    print('hello')\n"))
        self.assertEqual(result.stdout, "")

    def test_files_of_the_current_folder_are_not_the_hosts(self):
        self.write("raise SystemExit('wrong json')", "json.py")
        folder = os.path.join(self.folder, "sub")
        os.mkdir(folder)
        self.assertRuns(OK, "check", self.write(GOOD, "sub/policy.py"))

    def test_a_document_is_a_policy_too(self):
        document = self.assertRuns(OK, "compile", self.write(GOOD)).stdout
        path = self.write(document, "policy.json")
        self.assertRuns(OK, "check", path)
        self.assertRuns(OK, "check", path, "--instance", "default_instance")
        result = self.assertRuns(USAGE, "check", path, "--instance", "other")
        self.assertIn("instances of a document were chosen when it was compiled", result.stderr)


class Bad(Case):
    def test_place_message_and_hint(self):
        path = self.write("""\
            from Zorp.Smtp import *
            def default_instance():
                Service(name='mail', proxy_class=SmtpProxy)
                Rule(service='mial')
                Rule(service='mail', dst_port=99999)
            """)
        result = self.assertRuns(NO, "check", path)
        self.assertEqual(result.stdout, "")
        self.assertIn("%s:4: error: there is no service 'mial'" % path, result.stderr)
        self.assertIn("%s:5: error: dst_port: port 99999" % path, result.stderr)
        self.assertIn("\n    did you mean 'mail'?", result.stderr)

    def test_json(self):
        path = self.write("""\
            from Zorp.Smtp import *
            def default_instance():
                Rule(service='a')
                Rule(service='b')
            """)
        problems = self.problems(path)
        self.assertEqual([(p["line"], p["severity"]) for p in problems], [(3, "error"), (4, "error")])
        self.assertTrue(all(p["file"] == path for p in problems))

    def test_syntax_error(self):
        self.assertEqual(self.problems(self.write("from Zorp.Smtp import *\ndef x(:\n"))[0]["line"], 2)

    def test_exception_in_the_instance(self):
        problems = self.problems(self.write("def default_instance():\n    1 / 0\n"))
        self.assertEqual(problems[0]["line"], 2)
        self.assertIn("division by zero", problems[0]["message"])

    def test_misspelt_attribute(self):
        path = self.write(GOOD.replace("relay_domains", "relay_domians"))
        problems = self.problems(path)
        self.assertEqual(problems[0]["line"], 10)
        self.assertIn("relay_domains", problems[0]["message"] + str(problems[0]["hint"]))

    def test_client_identity(self):
        own = "self.relay_domains = ('example.com',)"
        problem, = self.problems(self.write(GOOD.replace(own, "self.accept_xclient_zones = ('*',)")))
        self.assertIn("everybody could be anybody", problem["message"])
        problem, = self.problems(self.write(GOOD.replace(own, "self.accept_xclient_zones = ('dmzz',)")))
        self.assertIn("dmzz", problem["message"])
        problem, = self.problems(self.write(GOOD.replace("name='mail',", "name='mail', accept_proxy_protocol=('dmzz',),")))
        self.assertIn("accept_proxy_protocol: there is no zone 'dmzz'", problem["message"])
        self.assertIn("dmz", problem["hint"])

    def test_xclient_over_connections_that_are_reused(self):
        own = "self.relay_domains = ('example.com',)"
        both = GOOD.replace(own, "self.reuse_server_sessions = self.send_xclient = TRUE")
        self.assertNotEqual(both, GOOD)
        self.assertRuns(OK, "check", self.write(both))

    def test_two_zones_with_one_subnet(self):
        path = self.write(GOOD.replace("'172.16.40.0/24'", "'10.1.99.1/16'"))
        self.assertIn("10.1.0.0/16", self.problems(path)[0]["message"])

    def test_warnings_only_when_asked_for(self):
        path = self.write(GOOD.replace("proto=6", "proto=47"))
        result = self.assertRuns(OK, "check", path)
        self.assertEqual(result.stdout + result.stderr, "")
        problems = self.problems(path, "--warnings", status=OK)
        self.assertEqual([p["severity"] for p in problems], ["warning"])
        self.assertIn("protocol 47", problems[0]["message"])

    def test_broken_document(self):
        result = self.assertRuns(NO, "check", self.write('{"format": "sallyport-policy", "version": 1', "x.json"))
        self.assertIn("x.json: error: policy document:", result.stderr)
        result = self.assertRuns(NO, "check", self.write('  \n{"a": 1}', "x.json"))
        self.assertIn("not a policy document", result.stderr)

    def test_terminal_controls_do_not_get_through(self):
        result = self.assertRuns(NO, "check", self.write('{"format": "\\u001b[2J\\n", "version": 1}', "x.json"))
        self.assertNotIn("\x1b", result.stderr)


class Doubts(Case):
    """What a policy says and probably does not mean: only with --warnings."""

    POLICY = """\
        from Zorp.Smtp import *
        Zone('internet', ['0.0.0.0/0', '::/0'])
        Zone('office', ['10.0.0.0/8'])
        Zone('office.dev', ['10.1.0.0/16'], admin_parent='office')
        Zone('dmz', ['172.16.0.0/16'])
        Zone('dmz.mail', ['172.16.40.0/24'], admin_parent='dmz')
        Zone('balancers', ['192.0.2.0/25'])
        Zone('partners', ['192.0.2.128/25'])
        Zone('relays', ['198.51.100.0/24'])
        class Mail(SmtpProxy):
            relay_zones = ('relays',)
        def default_instance():
            to = DirectedRouter(dest_addr=SockAddrInet('172.16.40.1', 25))
            Service('mail', Mail, router=to, accept_proxy_protocol=('balancers',), limit_target_zones_to=('partners',))
            Service('other', Mail, router=to)
            Rule(rule_id=1, service='mail', proto=6, dst_port=25, src_zone=('office', 'internet'), dst_zone='dmz.mail')
        """

    def doubts(self, *lines, without=None):
        text = self.POLICY.rstrip() + "\n" + "".join("            %s\n" % line for line in lines)
        path = self.write(text if without is None else text.replace(without, ""))
        self.assertEqual(self.problems(path, status=OK), [])
        problems = self.problems(path, "--warnings", status=OK)
        self.assertEqual({p["severity"] for p in problems} - {"warning"}, set())
        return [(p["line"], p["message"], p["hint"]) for p in problems]

    def test_service_that_no_rule_leads_to(self):
        self.assertEqual(self.doubts(), [(15, "service 'other': no rule leads to it", None)])
        self.assertEqual(self.doubts("Rule(rule_id=2, service='other', dst_port=26, proto=6)"), [])

    def test_same_conditions(self):
        (line, message, hint), = self.doubts("Rule(rule_id=2, service='other', src_zone=['internet', 'office'], "
                                             "dst_zone=('dmz.mail',), dst_port='25', proto=(6,))")
        self.assertEqual((line, message), (17, "rule 2 can never win: rule 1 has the same conditions, and comes first"))
        self.assertRegex(hint, "^rule 1 of default_instance is in .*policy.py, line 16$")

    def test_shadowed(self):
        (line, message, hint), = self.doubts("Rule(rule_id=2, service='other', proto=6, dst_port=25, src_zone='office', dst_zone='dmz.mail')")
        self.assertEqual((line, message), (17, "rule 2 can never win: what it matches, rule 1 matches at least as well"))
        # An address of every kind as a subnet is better than each zone.
        (line, message, _), = self.doubts("Rule(rule_id=2, service='other', proto=6, dst_port=25, src_subnet=('0.0.0.0/0', '::/0'))")
        self.assertEqual((line, message), (16, "rule 1 can never win: what it matches, rule 2 matches at least as well"))
        self.assertEqual(self.doubts("Rule(rule_id=2, service='other', proto=6, dst_port=25, src_zone='office.dev', dst_zone='dmz.mail')"), [])

    def test_zones_that_nobody_names(self):
        used = "Rule(rule_id=2, service='other', proto=6, dst_port=26)"
        for without, line, zone, hint in (
                ("            relay_zones = ('relays',)\n", 9, "relays", "it only keeps its addresses out of zone 'internet'"),
                ("accept_proxy_protocol=('balancers',), ", 7, "balancers", "it only keeps its addresses out of zone 'internet'"),
                (", limit_target_zones_to=('partners',)", 8, "partners", "it only keeps its addresses out of zone 'internet'")):
            fix = "" if "relay_zones" not in without else "            pass\n"
            path = self.write((self.POLICY.rstrip() + "\n            %s\n" % used).replace(without, fix))
            (problem,) = self.problems(path, "--warnings", status=OK)
            self.assertEqual((problem["line"], problem["message"], problem["hint"]), (line, "zone '%s' is named nowhere" % zone, hint))
        # Zones above or below one that is named are part of it.
        found = self.doubts(used, without=", dst_zone='dmz.mail'")
        self.assertEqual([(line, message) for line, message, _ in found],
                         [(5, "zone 'dmz' is named nowhere"), (6, "zone 'dmz.mail' is named nowhere")])
        self.assertEqual([hint for _, _, hint in found], ["it only keeps its addresses out of zone '%s'" % z for z in ("internet", "dmz")])
        self.assertEqual(self.doubts("Rule(rule_id=2, service='other', proto=6, dst_port=26, dst_zone='dmz')", without=", dst_zone='dmz.mail'"), [])


class NotYet(Case):
    """What a policy says rightly and this version can't do."""

    def assertNotYet(self, path, line, *words):
        problems = self.problems(path)
        self.assertEqual([p["line"] for p in problems], [line])
        for word in words:
            self.assertIn(word, problems[0]["message"])

    def test_udp(self):
        self.assertNotYet(self.write(GOOD.replace("proto=6", "proto=17")), 19, "protocol UDP on a Service", "not yet")

    def test_udp_beside_tcp(self):
        self.assertNotYet(self.write(GOOD.replace("proto=6", "proto=(6, 17)")), 19, "protocol UDP on a Service", "not yet")

    def test_a_document_is_not_trusted_in_this_either(self):
        document = json.loads(self.assertRuns(OK, "compile", self.write(GOOD)).stdout)
        document["rules"][2]["proto"] = [6, 17]
        messages = [p["message"] for p in self.problems(self.write(json.dumps(document), "p.json"))]
        self.assertEqual(len(messages), 1)
        self.assertIn("proxies do not serve UDP yet", messages[0])


class Usage(Case):
    def test_no_policy(self):
        self.assertIn("usage: sallyport check", self.assertRuns(USAGE, "check").stderr)

    def test_two_policies(self):
        path = self.write(GOOD)
        self.assertRuns(USAGE, "check", path, path)

    def test_unknown_option(self):
        self.assertRuns(USAGE, "check", "--nosuch", self.write(GOOD))

    def test_option_without_value(self):
        self.assertRuns(USAGE, "check", self.write(GOOD), "--instance")

    def test_help(self):
        self.assertIn("usage: sallyport check", self.assertRuns(OK, "check", "--help").stdout)

    def test_unknown_command(self):
        self.assertIn("there is no command 'chekc'", self.assertRuns(USAGE, "chekc").stderr)


class Refused(Case):
    def test_missing_file(self):
        result = self.assertRuns(REFUSED, "check", os.path.join(self.folder, "nosuch.py"))
        self.assertIn("nosuch.py: No such file or directory", result.stderr)

    def test_folder(self):
        self.assertIn("Is a directory", self.assertRuns(REFUSED, "check", self.folder).stderr)

    def test_policy_program_not_found(self):
        result = self.assertRuns(REFUSED, "check", self.write(GOOD), env={"SALLYPORT_PYTHONDIR": self.folder})
        self.assertIn("SALLYPORT_PYTHONDIR", result.stderr)

    def test_policy_that_ends_the_process(self):
        result = self.assertRuns(REFUSED, "check", self.write("import os\nos._exit(7)\n"))
        self.assertIn("the policy program failed (status 7)", result.stderr)

    def test_policy_that_kills_the_process(self):
        result = self.assertRuns(REFUSED, "check", self.write("import os\nos.kill(os.getpid(), 9)\n"))
        self.assertIn("ended by signal 9", result.stderr)

    def test_policy_that_closes_everything(self):
        path = self.write("import os\nos.closerange(3, 1000)\ndef default_instance():\n    pass\n")
        self.assertEqual(self.run_program("check", path).returncode, REFUSED)

    @unittest.skipUnless(os.geteuid() == 0, "only root changes the user")
    def test_unreadable_for_the_user(self):
        path = self.write(GOOD)
        os.chmod(path, 0o600)
        result = self.assertRuns(REFUSED, "check", path, "--user", "nobody")
        self.assertIn("user 'nobody', as whom policies run, can't read it", result.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "only root changes the user")
    def test_policy_code_runs_as_nobody(self):
        path = self.write("""\
            import os
            def default_instance():
                raise ValueError("I am %d %d %s" % (os.getuid(), os.getegid(), os.getgroups()))
            """)
        nobody = pwd.getpwnam("nobody")
        message = self.problems(path, "--user", "nobody")[0]["message"]
        self.assertIn("I am %d %d []" % (nobody.pw_uid, nobody.pw_gid), message)

    @unittest.skipUnless(os.geteuid() == 0, "only root changes the user")
    def test_users_that_will_not_do(self):
        path = self.write(GOOD)
        self.assertIn("there is no user", self.assertRuns(REFUSED, "check", path, "--user", "no-such-user").stderr)
        self.assertIn("do not run as root", self.assertRuns(REFUSED, "check", path, "--user", "root").stderr)

    def test_policy_program_ends_with_the_command(self):
        path = self.write("import time\nopen('%s/started', 'w').close()\ntime.sleep(600)\n" % self.folder)
        os.chmod(self.folder, 0o777)
        process = subprocess.Popen([SALLYPORT, "check", path], stderr=subprocess.DEVNULL)
        for _ in range(200):
            if os.path.exists(os.path.join(self.folder, "started")):
                break
            time.sleep(0.05)
        children = _children(process.pid)
        self.assertTrue(children)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        for _ in range(100):
            if not any(os.path.exists("/proc/%d" % child) for child in children):
                return
            time.sleep(0.05)
        self.fail("the policy program outlived the command")


def _children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as f:
        return [int(child) for child in f.read().split()]


if __name__ == "__main__":
    unittest.main()
